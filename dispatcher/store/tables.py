"""The tables as SQLAlchemy Core tables, which statements use: there is no object per recipient.

Their columns are in `schema/`.
"""

from dispatcher.store.declaration import core_table
from dispatcher.store.schema.campaign_tables import (
    Batch,
    Campaign,
    Message,
    Reject,
    SourceRows,
)
from dispatcher.store.schema.operation_tables import (
    Audit,
    Compatibility,
    ErasedNumber,
    Identity,
    Notice,
    Scheduler,
    StopOfEverything,
    Suppression,
    Worker,
)
from dispatcher.store.schema.push_tables import (
    InboundReply,
    PushCount,
    PushUrl,
    WaitingReceipt,
)
from dispatcher.store.schema.sending_tables import Account, AlternateId, Attempt, FormerOutcome

ACCOUNT = core_table(Account)
CAMPAIGN = core_table(Campaign)
BATCH = core_table(Batch)
MESSAGE = core_table(Message)
REJECT = core_table(Reject)
SOURCE_ROWS = core_table(SourceRows)
ATTEMPT = core_table(Attempt)
ALTERNATE_ID = core_table(AlternateId)
FORMER_OUTCOME = core_table(FormerOutcome)
AUDIT = core_table(Audit)
SUPPRESSION = core_table(Suppression)
ERASED_NUMBER = core_table(ErasedNumber)
COMPATIBILITY = core_table(Compatibility)
GENERAL_STOP = core_table(StopOfEverything)
SCHEDULER = core_table(Scheduler)
WORKER = core_table(Worker)
IDENTITY = core_table(Identity)
NOTICE = core_table(Notice)
PUSH_URL = core_table(PushUrl)
WAITING_RECEIPT = core_table(WaitingReceipt)
REPLY = core_table(InboundReply)
PUSH_COUNT = core_table(PushCount)
