"""Stores with campaigns in them, without provider or broker, and a check of all their counts."""

import io
from collections import Counter
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta

from sqlalchemy import event, insert, select, update

from dispatcher.campaigns.content import Content
from dispatcher.policy.fair_queue import SendPermission
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.providers.base import Capabilities, Provider, StatusLookup
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, Encoding, MessageState
from dispatcher.store import (
    accounts,
    answers,
    attempts,
    batch_endings,
    batches,
    campaign_search,
    campaigns,
    imports,
    tickets,
)
from dispatcher.store.answers import PollPlan
from dispatcher.store.attempts import BeginConditions
from dispatcher.store.engine import Store
from dispatcher.store.imports import MessageColumns, NewBatch, NewReject
from dispatcher.store.tables import ACCOUNT, ATTEMPT, AUDIT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.store.transitions import STATE_COLUMNS
from dispatcher.submission.acceptance import accept_import
from dispatcher.submission.campaign_import import import_rows
from dispatcher.submission.request import SubmissionRequest
from dispatcher.submission.validation import validated_submission
from dispatcher.types import HttpRequest, HttpResponse, Route, SubmitOutcome, SubmitRequest
from tests.support.transition_guard import unguarded

#: The clock of tests that pass their own times.
NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
FIRST_NUMBER = 919_800_000_000


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def settings(**values):
    """The shared settings of an account."""
    return ProviderSettings(provider="fake", base_url="http://127.0.0.1:9", **values)


class FakeProvider(Provider):
    """Takes any text; nothing of it is ever called over HTTP."""

    name = "fake"
    capabilities = Capabilities(
        max_recipients=100,
        personal_texts=True,
        delivery_status=StatusLookup.BY_JOB,
    )
    settings_type = ProviderSettings
    envelope_bytes = 100

    def recipient_bytes(self, msisdn, text):
        return 20 + len(text.encode())

    def submit_requests(self, batch):
        for recipients in self.split_to_fit(batch.recipients):
            yield SubmitRequest(
                http=HttpRequest(method="POST", url="http://127.0.0.1:9"), recipients=recipients
            )

    def parse_submit(self, request, response: HttpResponse):
        return SubmitOutcome(results=())


def provider(**values):
    return FakeProvider(settings(**values))


# --- Campaigns --------------------------------------------------------------------------------


def add_account(store, name="main", **values):
    with store.write() as conn:
        accounts.create_missing_accounts(conn, [name])
        if values:
            change(conn, accounts.ACCOUNT, accounts.ACCOUNT.c.name == name, **values)


def new_batch(place, first_seq, size, first=FIRST_NUMBER):
    """A batch to import: its place, the place of its first message, size and lowest number."""
    return NewBatch(
        seq=place,
        encoding=Encoding.GSM7,
        zone=None,
        first_seq=first_seq,
        messages=MessageColumns(
            rows=range(first_seq + 1, first_seq + size + 1),
            msisdns=range(first + first_seq, first + first_seq + size),
            parts=[1] * size,
            variables=[None] * size,
        ),
        requests=1,
        cells=None,
    )


def add_campaign(
    store, sizes=(3,), *, account="main", state=CampaignState.RUNNING, first=FIRST_NUMBER, **values
):
    """An accepted campaign with batches of these sizes in its state; its id."""
    with store.write() as conn:
        accounts.create_missing_accounts(conn, [account])
        job = start_import(conn, account=account)
        seq, made = 0, []
        for place, size in enumerate(sizes):
            made.append(new_batch(place, seq, size, first))
            seq += size
        imports.write_group(conn, job, made, [], lease_until=NOW + LEASE)
        imports.finish_import(conn, job, {"rows": seq, "total": seq}, NOW + LEASE)
        imports.mark_import_accepted(conn, job, CampaignState.SCHEDULED, NOW)
        if state is not CampaignState.SCHEDULED:
            values["state"] = state
        if values:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == job.campaign_id, **values)
    return job.campaign_id


def start_import(conn, *, account="main", content_key="content", lease_until=NOW + LEASE, **values):
    """A campaign row in state `importing`."""
    given = {
        "name": "spring", "account": account, "kind": "transactional", "sender": "SENDER",
        "text": "Hello", "columns": '["phone"]', "source_name": "people.csv",
        "content_key": content_key, "on_doubt": "hold", "created_at": NOW,
    }  # fmt: skip
    return imports.start_import(conn, given | values, lease_until)


def count_up(url, times):
    """Read, then write what was read plus one, in one transaction each; for a process of its own.

    Every third transaction is long, as an import's are.
    """
    with closing(Store(url, lock_wait_s=60)) as store:
        for turn in range(times):
            with store.write() as conn:
                row = conn.execute(ACCOUNT.select().with_for_update()).one()
                if turn % 3 == 0:
                    for n in range(60):
                        start_import(conn, content_key=f"{turn}-{n}")
                conn.execute(update(ACCOUNT).values(failures=row.failures + 1))


def reject(row, kind=0):
    return NewReject(row, kind, None, "no number", '["x"]')


def change(conn, table, where, **values):
    """Put a row into a state that would take long to reach, whatever the transition tables say."""
    guarded = {column.name for column in STATE_COLUMNS.values() if column.table is table}
    # Taking triggers away takes longer than most changes.
    with unguarded(conn) if guarded & {*values} else nullcontext():
        conn.execute(update(table).where(where).values(**values))


def interrupt(conn, words, happen):
    """Call `happen` after the first statement with these words, as if others were faster."""
    waiting = [happen]

    def listen(_conn, _cursor, statement, *_):
        if waiting and words in statement:
            waiting.pop()()

    event.listen(conn, "after_cursor_execute", listen)


# --- Submissions ------------------------------------------------------------------------------


def order(content="phone\n9800000001\n", *, text="Hello", **values):
    """An order for a file of this content."""
    source = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    given = {"source": source, "source_name": "people.csv", "account": "main", "name": "spring"}
    return SubmissionRequest(content=Content(text=text), **(given | values))


def ready(wanted, adapter=None):
    """The order, checked, for use in `with`."""
    adapter = adapter or provider(country="IN", sender="SENDER")
    return validated_submission(wanted, adapter, lambda requested: Route(sender=requested.sender))


def submit(store, wanted, adapter=None):
    """Import and accept an order, as the command line does after a yes; the campaign's id."""
    with ready(wanted, adapter) as checked:
        imported = import_rows(store, checked, ignore)
    accept_import(store, imported)
    return imported.job.campaign_id


def ignore(_row):
    """No progress is shown."""


# --- Batches on their way ---------------------------------------------------------------------


def queued(store, *, now=NOW, limit=1):
    """The tickets of the first pending batches, whatever release would think of them."""
    pending = rows(store, BATCH, BATCH.c.state == BatchState.PENDING)
    with store.write() as conn:
        return tickets.mark_queued(conn, [batch.id for batch in pending[:limit]], now)


def claimed(store, *, now=NOW, lease=LEASE):
    """The first pending batch, queued and claimed."""
    return claim(store, queued(store, now=now)[0], now=now, lease=lease)


def claim(store, ticket, *, now=NOW, lease=LEASE):
    with store.write() as conn:
        return batches.claim_batch(conn, ticket.id, ticket.fence, now + lease)


OPEN = SendPermission(is_open=True)


def begin(
    store, held, requests=None, *, now=NOW, gate=OPEN, paid_for_s=None, is_first=True, **terms
):
    """Begin with one request for all, or with these lists of seqs; the ids of the attempts."""
    if requests is None:
        requests = [list(range(held.first_seq, held.first_seq + held.size))]
    given = {
        "gate": lambda _campaign, _now: gate,
        "deadline": now + timedelta(seconds=75),
        "offsets_s": [0.0] * len(requests),
        "paid_for_s": paid_for_s or {},
        "campaign_paid_for_s": None,
        "daily_limit": None,
        "day_until": later(3600),
    }
    with store.write() as conn:
        locked = attempts.lock_for_begin(conn, held)
        given = BeginConditions(**(given | terms))
        begun = attempts.begin_attempts(
            conn, held, requests, locked=locked, terms=given, now=now, is_first=is_first
        )
    return begun.attempt_ids if begun is not None else None


def submitting(store, requests=None, **values):
    """A batch whose requests are under way: its claim and the ids of its attempts."""
    held = claimed(store, **values)
    return held, begin(store, held, requests)


def verdict(accepted=(), rejected=(), doubtful=(), outcome=AttemptOutcome.ANSWERED, **values):
    """A verdict on seqs; an accepted message's provider id is `id-SEQ`."""
    return Verdict(
        outcome=outcome,
        accepted=[Accepted(seq, f"id-{seq}", None) for seq in accepted],
        rejected=[NotAccepted(seq, "42", "blocked") for seq in rejected],
        doubtful=[NotAccepted(seq, None, "no word of it") for seq in doubtful],
        **values,
    )


POLL = PollPlan(first_at=later(10), until=later(3600))


def settle(store, held, attempt_id, said, *, poll=POLL, now=NOW):
    with store.write() as conn:
        return answers.settle_answer(conn, held, attempt_id, said, poll=poll, now=now)


def close(store, held, *, not_before=None, error=None, failed_after=None, now=NOW):
    with store.write() as conn:
        return batch_endings.close_batch(
            conn, held, not_before=not_before, error=error, failed_after=failed_after, now=now
        )


def submitted(store, *, poll=POLL, **values):
    """A batch all of whose messages the provider took; its claim and its attempt."""
    held, (attempt,) = submitting(store, **values)
    seqs = range(held.first_seq, held.first_seq + held.size)
    settle(store, held, attempt, verdict(accepted=seqs, job_id="job"), poll=poll)
    assert close(store, held) is BatchState.SETTLED
    return held, attempt


# --- What the store holds ---------------------------------------------------------------------


def rows(store, table, *where, order_by=None):
    with store.read() as conn:
        query = select(table).where(*where).order_by(*(order_by or table.primary_key.columns))
        return conn.execute(query).all()


def batch_of(store, batch_id):
    (batch,) = rows(store, BATCH, BATCH.c.id == batch_id)
    return batch


def campaign_of(store, campaign_id):
    with store.read() as conn:
        return campaigns.load_campaign(conn, campaign_id)


def attempt_of(store, attempt_id):
    (attempt,) = rows(store, ATTEMPT, ATTEMPT.c.id == attempt_id)
    return attempt


def states(store, campaign_id=None):
    """The messages' states in order of seq, as their public names."""
    where = [] if campaign_id is None else [MESSAGE.c.campaign_id == campaign_id]
    return [MessageState(row.state).label for row in rows(store, MESSAGE, *where)]


def audit(store):
    return [row.action for row in rows(store, AUDIT)]


def counts_of(store, campaign_id):
    """The campaign's counts that are not zero, from its batches."""
    with store.read() as conn:
        totals = campaign_search.count_messages(conn, [campaign_id])[campaign_id]
    return {name: count for name, count in totals.items() if count}


def assert_counts_agree(store):
    """Every counter of every batch is what a recount of its messages says, if they are kept."""
    purged = select(CAMPAIGN.c.id).where(CAMPAIGN.c.purged_at.is_not(None))
    found = (
        rows(store, BATCH, BATCH.c.campaign_id.not_in(purged)),
        *(rows(store, table) for table in (MESSAGE, ATTEMPT)),
    )
    assert_counts(*([row._mapping for row in each] for each in found))


def assert_counts(batches_, messages, attempts_):
    """As `assert_counts_agree`, of rows that were read."""
    #: The batch in which the messages of an attempt are polled.
    polled = {row["id"]: row["batch_id"] for row in attempts_ if row["poll_at"] is not None}
    by_key = {(m["campaign_id"], m["seq"]): m for m in messages}
    for batch in batches_:
        seqs = range(batch["first_seq"], batch["first_seq"] + batch["size"])
        mine = [by_key[batch["campaign_id"], seq] for seq in seqs]
        recount = Counter(MessageState(m["state"]).label for m in mine)
        recount["no_receipt"] = sum(
            m["state"] == MessageState.SUBMITTED and polled.get(m["attempt_id"]) != batch["id"]
            for m in mine
        )
        stored = {name: batch[name] for name in campaign_search.COUNTERS}
        counted = {name: recount[name] for name in campaign_search.COUNTERS}
        assert stored == counted, f"batch {batch['id']}"
        if batch["state"] in {BatchState.SETTLED, BatchState.CANCELLED}:
            assert batch["pending"] == 0, f"batch {batch['id']} has ended with work left"


def add_attempt(conn, **values):
    """An attempt row by itself."""
    given = {
        "campaign_id": 1, "batch_id": 1, "account": "main", "outcome": AttemptOutcome.ANSWERED,
        "begun_at": NOW, "deadline": NOW, "polls": 0,
    }  # fmt: skip
    return conn.execute(insert(ATTEMPT).values(**(given | values)).returning(ATTEMPT.c.id)).scalar()
