"""The events that are logged, each with its level and its meaning; logging one with its fields.

Names of events are public: alerts over logs search for them. deploy/runbook.md has their table.
"""

import logging
from enum import Enum
from logging import CRITICAL, ERROR, INFO, WARNING
from typing import TypedDict, Unpack


class EventFields(TypedDict, total=False):
    """What an event is about: ids of the store, and the name of an account."""

    campaign: int
    batch: int
    attempt: int
    account: str


class LogEvent(Enum):
    """An event. INFO: as it should be. WARNING: the program deals with it. ERROR: look into it.

    CRITICAL: this process ends.
    """

    WORKER_WAITS = ERROR, "A worker does not start yet: the store is away, or its tables are old."
    WORKER_NOT_STARTED = CRITICAL, "A worker has waited long enough, and ends."
    WORKER_ENDS = CRITICAL, "A worker ends itself: it is stalled, or must not send from here."
    WORKER_STILL_LISTED = WARNING, "A worker ends, and stays in the list of live ones for a while."
    OWNER_UNKNOWN = ERROR, "Whose Redis database this is cannot be found out."
    WATCHDOG_BLIND = WARNING, "The watchdog of a worker cannot read the store."
    WATCHDOG_FAILED = ERROR, "The watchdog of a worker has run into a defect, and goes on."
    METERS_SERVED = INFO, "A worker serves its metrics."
    METERS_NOT_SERVED = ERROR, "A worker cannot serve its metrics. It sends all the same."
    TRACES_SENT = INFO, "A worker sends traces to the collector that OTEL_* names."
    TRACES_NOT_SENT = ERROR, "Traces are wanted, and their packages are missing. It sends anyway."
    LOOP_LATE = WARNING, "The connections of a worker did not end in time; requests are in doubt."
    LEASES_NOT_RENEWED = ERROR, "A worker cannot say that it lives: its batches may be taken away."
    LEASES_ENDED = INFO, "Batches that a worker held have ended meanwhile, or were taken from it."

    TICK_FAILED = ERROR, "A tick was not finished. The next one comes in a second."
    NOTHING_RELEASED = ERROR, "Nothing is sent: the store, or the Redis database, is not ours."
    CLOCK_WENT_BACK = WARNING, "The store's clock went back. Times in the store are corrected."
    BROKER_REFUSED = WARNING, "The broker does not take messages. Ticks hand them out again."
    MESSAGE_DROPPED = WARNING, "A message in Redis was not ours, or malformed. It is dropped."
    RELEASE_NOT_RETURNED = ERROR, "Released batches stay released until the sweep finds them."

    CAMPAIGN_STARTED = INFO, "A campaign starts, which was for later."
    CAMPAIGN_ENDED = INFO, "Nothing of a campaign is left to be sent or asked about."
    CAMPAIGN_PAUSED = ERROR, "The provider refused what a campaign sends. A person resumes it."
    CAMPAIGN_MOVED = WARNING, "A campaign goes on at its fallback account."
    CAMPAIGN_CHECK_LATE = WARNING, "A campaign waits: its provider cannot be asked about it yet."
    CAMPAIGN_NOT_CHECKED = ERROR, "The check before a campaign's first batch was not finished."

    BATCH_LEAVES = INFO, "The first requests of a batch leave."
    BATCH_SETTLED = INFO, "A batch's turn is over: what was accepted, refused, and is in doubt."
    BATCH_NOT_SUBMITTED = ERROR, "A batch's turn ended early. It is handed back, or comes back."
    BATCH_NOT_BUILT = ERROR, "A batch ran into a defect before anything of it was sent."
    IN_DOUBT = WARNING, "A provider may have accepted recipients. They are not sent again."
    DOUBT_SETTLED = INFO, "A request in doubt was looked up: what was found, and what is left."
    DOUBT_NOT_SETTLED = ERROR, "Doubts at an account could not be looked up now."
    DOUBT_LEFT = ERROR, "A provider's list was unreadable for a day. A person decides."
    LIST_UNREADABLE = WARNING, "A provider's list cannot be read now."
    LIST_ENDLESS = WARNING, "A provider's list has no end. What was read of it counts."

    RECEIPTS_STORED = INFO, "A request was asked about: how many messages have a receipt now."
    POLL_FAILED = WARNING, "A provider does not say what became of a request. It is asked again."
    POLL_NOT_STORED = ERROR, "The state of a request was not stored. It is asked about again."

    BREAKER_OPENED = WARNING, "Requests to a provider fail: nothing more leaves until it answers."
    BREAKER_CLOSED = WARNING, "A provider works again."
    ACCOUNT_PAUSED = ERROR, "No credit, wrong credentials or a wrong setup: an account is paused."
    ACCOUNT_SILENT = ERROR, "Messages of an account are due, and nothing has left for a minute."
    ACCOUNT_UNKNOWN = WARNING, "A running campaign's account is not in the configuration here."
    CREDIT_RESTORED = INFO, "An account has credit again, and goes on."
    BALANCE_UNKNOWN = WARNING, "A provider does not say what an account has left."
    PROBE_FAILED = WARNING, "A provider behind an open breaker still does not work."
    PROBE_NOT_STORED = ERROR, "What came of a probe was not stored. There will be another one."

    ANSWER_WAITS = ERROR, "The store does not take a provider's answer now. It is tried again."
    ANSWER_SPILLED = WARNING, "A provider's answer was written to the spill folder."
    ANSWER_KEPT_IN_MEMORY = ERROR, "Neither the store nor the spill folder takes an answer."
    ANSWER_REFUSED = ERROR, "The store will never take an answer. Its recipients are in doubt."
    ANSWER_SET_ASIDE = (
        ERROR,
        "A spilled answer fits no request of this store. Look at it.",
    )
    ANSWERS_RECOVERED = INFO, "Answers from the spill folder were stored."
    WITNESS_NOT_WRITTEN = WARNING, "The file that remembers how far sending has come is too old."
    REDIS_KEY_DROPPED = WARNING, "The witness's key in Redis was not ours."

    NOTICE_NOT_DELIVERED = WARNING, "A notice did not reach its command or webhook."
    NOTICES_LATE = WARNING, "Notices wait: the store is away."
    NOTIFIER_FAILED = ERROR, "Notices wait: their thread has run into a defect, and goes on."

    PUSH_UNREADABLE = WARNING, "The receiver does not understand a push. Once for each kind of it."
    PUSH_UNFIT = WARNING, "The store will never take a push. It is refused."
    PUSHES_NOT_STORED = WARNING, "Pushes are answered with 503: the store is away."
    RECEIVER_FAILED = ERROR, "The receiver has run into a defect, and goes on."
    RECEIVER_READY = INFO, "The receiver listens."

    METRICS_READY = INFO, "`dispatcher metrics` listens."
    METRICS_REQUEST_FAILED = WARNING, "A request for metrics failed, as one that is too slow does."
    STORE_AWAY = WARNING, "`dispatcher metrics` cannot read the store."
    STORE_BACK = WARNING, "`dispatcher metrics` can read the store again."

    UP_READY = INFO, "`dispatcher up` has started everything."
    UP_STOPPING = INFO, "`dispatcher up` waits for requests in flight, then ends."
    STOPPED = INFO, "`dispatcher up`, `metrics` or `receiver` has ended."
    FLOWER_READY = INFO, "`dispatcher up` has started Flower."
    PROCESS_ENDED = WARNING, "A process of `dispatcher up` has ended, and is started again."
    PROCESS_KILLED = WARNING, "A process of `dispatcher up` did not end in time."
    BROKER_RESTARTED = WARNING, "The private broker of `dispatcher up` died, and runs again."

    def __init__(self, level: int, meaning: str) -> None:
        self.level = level
        self.meaning = meaning

    @property
    def label(self) -> str:
        """Its name in a line of JSON, and in the runbook."""
        return self.name.lower()

    def describe(self, **fields: Unpack[EventFields]) -> dict[str, object]:
        """What a record gets beside its words: for `extra` of a call that logs a traceback."""
        return {"event": self.label, **fields}


def log_event(
    log: logging.Logger,
    event: LogEvent,
    words: str,
    *args: object,
    **fields: Unpack[EventFields],
) -> None:
    """Log an event: `words` for people, in the form of `logging`, and what it is about."""
    log.log(event.level, words, *args, extra=event.describe(**fields), stacklevel=2)
