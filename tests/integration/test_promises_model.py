"""The promises, checked after every step of whatever may happen to a campaign, in any order.

The machine plays schedulers, workers that die, Redis, the provider and the operator over the real
store; the provider's own ledger says what was accepted. `MODEL_EXAMPLES=2000` is the long edition.
"""

import os
import shutil
import tempfile
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dispatcher import campaigns as commands
from dispatcher import resolution
from dispatcher.errors import Refused, StoreError
from dispatcher.reconcile import Note
from dispatcher.release import release
from dispatcher.resolution import Choice
from dispatcher.settlement import Accepted, Unsettled, Verdict
from dispatcher.spill import Answer, Polling
from dispatcher.status import (
    IN_FLIGHT,
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
    may_follow,
)
from dispatcher.store import accounts, attempts, batches, campaigns, decisions, doubts, polls
from dispatcher.store.decisions import Found, Noted
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade
from dispatcher.store.polls import Receipt
from dispatcher.store.tables import ATTEMPT, AUDIT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.sweep import sweep
from tests.fakes import stores
from tests.fakes.stores import LEASE, NOW, POLL, add_campaign, assert_counts_agree, rows

#: Further examples, drawn anew, of the long edition.
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
STEPS = 40
ACCOUNT = stores.settings(max_in_flight=2)
MAX_ATTEMPTS = 3
#: After the last moment at which the provider may accept a request: `begin` of `stores` has it so.
DEADLINE = timedelta(seconds=75)
TAKEN = {
    MessageState.SUBMITTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
}
RECEIPTS = [MessageState.DELIVERED, MessageState.UNDELIVERED, MessageState.EXPIRED]
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3)
MOST_CAMPAIGNS = 8
#: What a person may do, as often as it stands here.
COMMANDS = [
    *[commands.resume, commands.pause, resolution.retry] * 3, commands.cancel,
]  # fmt: skip
#: What may befall a worker whose requests are under way.
EVENTS = [
    *["lease runs out", "answer"] * 3, *["look", "resend", "go on"] * 2, "drop", "assume-submitted",
    "cancel",
]  # fmt: skip
WITHDRAWN = Verdict(outcome=AttemptOutcome.NOT_SENT)
#: How a request may fare at the provider.
FATES = ["accepted", "refused", "partial", "throttled", "lost answer", "lost request"]


@dataclass
class Call:
    """One request of a worker, from its attempt row on."""

    attempt_id: int
    seqs: list[int]
    begun_at: object
    verdict: Verdict | None = None
    #: Whether its first byte has left.
    left: bool = False


@dataclass
class Worker:
    """A worker with a claimed batch. A dead one answers nothing any more; its requests travel."""

    claim: batches.Claim
    calls: list[Call] = field(default_factory=list)
    is_dead: bool = False
    settled: set[int] = field(default_factory=set)


class Promises(RuleBasedStateMachine):
    """Whatever happens: nobody twice, nobody lost, everything counted."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="model-"))
        shutil.copyfile(TEMPLATE[0], self._folder / "store.db")
        self.store = Store(f"sqlite:///{self._folder / 'store.db'}")
        self.now = NOW
        self.tickets: list[batches.Ticket] = []
        self.workers: list[Worker] = []
        self.old_polls: list[polls.Polled] = []
        #: The provider's own ledger: accepted message ids by message.
        self.ledger: dict[tuple[int, int], list[str]] = defaultdict(list)
        self.resent: set[tuple[int, int]] = set()
        self.dropped: set[tuple[int, int]] = set()
        self.assumed: set[tuple[int, int]] = set()
        self.before: dict[tuple[int, int], MessageState] = {}
        self.campaigns: list[int] = []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self._folder)

    @initialize(sizes=SIZES)
    def submit(self, sizes):
        self._submit(sizes)

    def _submit(self, sizes):
        self.campaigns.append(add_campaign(self.store, sizes, state=CampaignState.SCHEDULED))

    @precondition(lambda self: len(self.campaigns) < 2)
    @rule(sizes=SIZES)
    def submit_another(self, sizes):
        """The same numbers again, in a campaign of its own."""
        self._submit(sizes)

    # --- All of it ----------------------------------------------------------------------------

    @rule(fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=4), split=st.booleans())
    def work(self, fates, split):
        self.go(fates, split=split)

    def go(self, fates, *, split):
        """Batches go their whole way, one after another, past whoever stopped them."""
        self.stop("open", self.campaigns[-1])
        for campaign_id in self.campaigns:
            self.steer(commands.resume, campaign_id)
        for fate in fates:
            if not self._take_next():
                return
            worker = self.workers[-1]
            if not self._begin(worker, split=split):
                return
            for one in worker.calls:
                self._call(worker, one, fate)
                self.every_promise_holds()
                self._settle(worker, one, polled=True)
                self.every_promise_holds()

    @rule(fate=st.sampled_from(FATES))
    def one_more(self, fate):
        self.go([fate], split=False)

    @rule(
        fate=st.sampled_from(FATES),
        split=st.booleans(),
        events=st.lists(st.sampled_from(EVENTS), min_size=2, max_size=7),
    )
    def trouble(self, fate, split, events):
        """A worker's requests reach the provider; what happens before, and after, it is told."""
        self.go([], split=False)
        if not self._take_next():
            return
        worker = self.workers[-1]
        if not self._begin(worker, split=split):
            return
        for one in worker.calls:
            self._call(worker, one, fate)
        for event in events:
            self._befall(worker, event)
            self.every_promise_holds()

    def _take_next(self):
        """Claim what is released; where nothing is, once the leases of the dead have run out."""
        pending = MESSAGE.c.state == MessageState.PENDING
        if not rows(self.store, MESSAGE, pending) and len(self.campaigns) < MOST_CAMPAIGNS:
            self._submit([3, 2])
        for seconds in (1, 61, 1):
            self.time_passes(seconds)
            self.tick(published=True, schedulers=1, judged=True)
            if any(self._claim(ticket) for ticket in reversed(self.tickets[-3:])):
                return True
        return False

    def _befall(self, worker, event):
        match event:
            case "lease runs out":
                self.time_passes(61)
                self.tick(published=True, schedulers=2, judged=True)
            case "look":
                self.time_passes(61)
                self.look()
            case "resend" | "drop" | "assume-submitted":
                self._resolve(worker.claim.campaign_id, Choice(event))
            case "go on":
                self.go(["accepted"], split=False)
            case "cancel":
                self.steer(commands.cancel, worker.claim.campaign_id)
            case "answer":
                for one in worker.calls:
                    self._settle(worker, one, polled=True)

    # --- Schedulers and Redis -----------------------------------------------------------------

    @rule(published=st.booleans(), schedulers=st.integers(1, 2), judged=st.booleans())
    def ticks(self, published, schedulers, judged):
        self.tick(published=published, schedulers=schedulers, judged=judged)

    def tick(self, *, published, schedulers, judged):
        """One or two at a time; what they release may not reach Redis."""
        for _ in range(schedulers):
            with self.store.write() as conn:
                campaigns.lapse_due(conn, self.now)
                campaigns.start_due(conn, self.now)
                stores_scheduler(conn)
                again = sweep(
                    conn,
                    now=self.now,
                    judge_after=self.now if judged else self.now + LEASE,
                    requeue_after_s=30,
                )
            self._release(published)
            self.tickets += again
            with self.store.write() as conn:
                campaigns.finish_done(conn, self.now)

    def _release(self, published):
        with self.store.write() as conn:
            account = accounts.get(conn, "main")
            tickets = release(conn, "main", ACCOUNT, self.now)
            running = set(campaigns_in(conn, CampaignState.RUNNING))
            released = conn.execute(
                sa.select(BATCH.c.campaign_id).where(BATCH.c.id.in_([t.id for t in tickets]))
            ).scalars()
            assert set(released) <= running
        assert not (tickets and account.paused_by)
        if published:
            self.tickets += tickets

    @rule(seconds=st.sampled_from([1, 20, 61, 120]))
    def wait(self, seconds):
        self.time_passes(seconds)

    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    # --- Workers ------------------------------------------------------------------------------

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def take(self, data):
        """Any ticket ever published: the newest, a duplicate, or an old one."""
        place = data.draw(st.integers(0, min(6, len(self.tickets) - 1)))
        self._claim(self.tickets[-1 - place])

    def _claim(self, ticket):
        with self.store.write() as conn:
            held = batches.claim(conn, ticket.id, ticket.fence, self.now + LEASE)
        if held is not None:
            self.workers.append(Worker(held))
        return held is not None

    def _alive(self, *, begun):
        return [w for w in self.workers if bool(w.calls) == begun and not w.is_dead]

    @precondition(lambda self: self._alive(begun=False))
    @rule(data=st.data(), split=st.booleans())
    def begin(self, data, split):
        self._begin(data.draw(st.sampled_from(self._alive(begun=False))), split=split)

    def _begin(self, worker, *, split):
        held = worker.claim
        pending = [row.seq for row in self._messages(held) if row.state == MessageState.PENDING]
        requests = [[seq] for seq in pending] if split else [pending]
        ids = None
        # Rendered from what is no longer pending, it does not leave.
        with suppress(StoreError):
            ids = stores.begin(self.store, held, requests, now=self.now) if pending else None
        if ids is None:
            self.workers.remove(worker)
            return False
        calls = zip(ids, requests, strict=True)
        worker.calls = [Call(attempt_id, seqs, self.now) for attempt_id, seqs in calls]
        return True

    @precondition(lambda self: self._alive(begun=False))
    @rule(data=st.data())
    def hand_back(self, data):
        worker = data.draw(st.sampled_from(self._alive(begun=False)))
        with self.store.write() as conn:
            batches.hand_back(conn, worker.claim, not_before=None)
        self.workers.remove(worker)

    @precondition(lambda self: self._alive(begun=False) + self._alive(begun=True))
    @rule(data=st.data())
    def die(self, data):
        """`kill -9`, before or after begin; what has left goes on to the provider."""
        alive = self._alive(begun=False) + self._alive(begun=True)
        data.draw(st.sampled_from(alive)).is_dead = True

    def _to_leave(self):
        """What may reach the provider, at the latest at its deadline, of dead workers too."""
        return [
            (worker, one)
            for worker in self.workers
            for one in worker.calls
            if not one.left and self.now < one.begun_at + DEADLINE
        ]

    @precondition(lambda self: self._to_leave())
    @rule(data=st.data(), fate=st.sampled_from(FATES))
    def call(self, data, fate):
        self._call(*data.draw(st.sampled_from(self._to_leave())), fate)

    def _call(self, worker, one, fate):
        one.left = True
        one.verdict = self._answer(worker.claim.campaign_id, one, fate)

    def _answer(self, campaign_id, one, fate):
        def accept(seq):
            ids = self.ledger[campaign_id, seq]
            ids.append(f"id-{campaign_id}-{seq}-{one.attempt_id}")
            return Accepted(seq, ids[-1], None)

        doubts_of = [Unsettled(seq, None, "no word of it") for seq in one.seqs]
        match fate:
            case "accepted":
                accepted = [accept(seq) for seq in one.seqs]
                return Verdict(outcome=AttemptOutcome.ANSWERED, accepted=accepted, job_id="job")
            case "refused":
                refused = [Unsettled(seq, "42", "blocked") for seq in one.seqs]
                return Verdict(outcome=AttemptOutcome.REFUSED, rejected=refused)
            case "partial":  # in turn: accepted, refused, accepted but not mentioned
                taken = [accept(seq) for seq in one.seqs[0::3]]
                for seq in one.seqs[2::3]:
                    accept(seq)
                return Verdict(
                    outcome=AttemptOutcome.ANSWERED,
                    accepted=taken,
                    rejected=[Unsettled(seq, "42", "blocked") for seq in one.seqs[1::3]],
                    doubtful=doubts_of[2::3],
                    job_id="job",
                )
            case "throttled":
                return Verdict(outcome=AttemptOutcome.REFUSED)
            case "lost answer":
                for seq in one.seqs:
                    accept(seq)
        return Verdict(outcome=AttemptOutcome.DOUBTFUL, doubtful=doubts_of)

    def _answered(self):
        return [(w, one) for w in self._alive(begun=True) for one in w.calls if one.verdict]

    @precondition(lambda self: self._answered())
    @rule(data=st.data(), polled=st.booleans())
    def settle(self, data, polled):
        """In time, late, or once more because the commit was not acknowledged."""
        self._settle(*data.draw(st.sampled_from(self._answered())), polled=polled)

    def _unsent(self):
        return [(w, one) for w in self._alive(begun=True) for one in w.calls if not one.left]

    @precondition(lambda self: self._unsent())
    @rule(data=st.data())
    def withdraw(self, data):
        """A worker wakes too late for its first byte, and knows that none left."""
        worker, one = data.draw(st.sampled_from(self._unsent()))
        one.left = True
        one.verdict = WITHDRAWN
        self._settle(worker, one, polled=False)

    def _settle(self, worker, one, *, polled):
        answer = Answer(
            claim=worker.claim,
            attempt_id=one.attempt_id,
            verdict=None if one.verdict is WITHDRAWN else one.verdict,
            polling=Polling(first_s=10, for_s=3600) if polled else None,
        )
        worker.settled.add(one.attempt_id)
        with self.store.write() as conn:
            answer.store(conn, self.now)
            if len(worker.settled) == len(worker.calls):
                attempts.close_batch(
                    conn,
                    worker.claim,
                    not_before=None,
                    error="try again",
                    failed_after=MAX_ATTEMPTS,
                    now=self.now,
                )

    @rule()
    def renew(self):
        with self.store.write() as conn:
            held = [(w.claim.id, w.claim.fence) for w in self.workers if not w.is_dead]
            batches.renew(conn, held, self.now + LEASE)

    # --- Receipts -----------------------------------------------------------------------------

    @rule(data=st.data(), known=st.booleans())
    def poll(self, data, known):
        """Fresh polls, and old ones whose answer comes late."""
        with self.store.write() as conn:
            given = polls.release(conn, now=self.now, lease_until=self.now + LEASE, limit=2)
            found = [polls.load(conn, ticket.id, ticket.polls) for ticket in given]
        self.old_polls += [one for one in found if one is not None]
        if not self.old_polls:
            return
        polled = data.draw(st.sampled_from(self.old_polls[-4:]))
        said = [
            Receipt(message.seq, data.draw(st.sampled_from(RECEIPTS)), None, None)
            for message in polled.open
            if known and data.draw(st.booleans())
        ]
        next_at = self.now + timedelta(seconds=30) if self.now < POLL.until else None
        with self.store.write() as conn:
            polls.settle(conn, polled, said, next_at=next_at, now=self.now)

    # --- Doubt --------------------------------------------------------------------------------

    @rule()
    def look(self):
        """The provider's list, read after the deadline: it shows all that was accepted."""
        with self.store.read() as conn:
            query = sa.select(ATTEMPT.c.id).where(
                ATTEMPT.c.doubt_at.is_not(None), ATTEMPT.c.deadline < self.now
            )
            due = conn.execute(query).scalars().all()
        for attempt_id in due:
            with self.store.write() as conn:
                self._look_for(conn, attempt_id)

    def _look_for(self, conn, attempt_id):
        case = decisions.lock(conn, attempt_id)
        known = set(conn.execute(sa.select(MESSAGE.c.provider_message_id)).scalars())
        found, absent = [], []
        for row in doubts.load(conn, attempt_id).recipients:
            ids = self.ledger[case.campaign.id, row.seq]
            note = Note(row.note or 0)
            free = [one for one in ids if one not in known]
            if free:
                found.append(Found(row.seq, row.msisdn, free[0], None, int(note | Note.FOUND)))
            elif not ids:
                absent.append(Noted(row.seq, int(note | Note.ABSENT)))
        decisions.found(conn, case, found, poll=POLL, now=self.now)
        if absent and not case.is_at_provider:
            decisions.again(conn, case, absent, failed_after=MAX_ATTEMPTS, now=self.now)
        decisions.close(conn, case, next_at=self.now, looked=True)

    @rule(data=st.data(), choice=st.sampled_from(Choice))
    def resolve(self, data, choice):
        self._resolve(self._campaign(data), choice)

    def _resolve(self, campaign_id, choice):
        before = self._states()
        with suppress(Refused):
            resolution.resolve(self.store, str(campaign_id), choice)
        moved = {
            key
            for key, state in self._states().items()
            if before[key] is MessageState.IN_DOUBT and state is not before[key]
        }
        chosen = {Choice.RESEND: self.resent, Choice.DROP: self.dropped}
        chosen.get(choice, self.assumed).update(moved)

    # --- The operator -------------------------------------------------------------------------

    def _campaign(self, data):
        return data.draw(st.sampled_from(self.campaigns))

    @rule(data=st.data(), command=st.sampled_from(COMMANDS))
    def command(self, data, command):
        self.steer(command, self._campaign(data))

    def steer(self, command, campaign_id):
        with suppress(Refused):
            command(self.store, str(campaign_id))

    @rule(data=st.data(), what=st.sampled_from(["open", "stop", "expire"]))
    def turn(self, data, what):
        self.stop(what, self._campaign(data))

    def stop(self, what, campaign_id):
        with self.store.write() as conn:
            if what == "expire":
                values = {"expire_at": self.now + timedelta(seconds=3600)}
                campaigns.change_terms(conn, campaign_id, values, actor="operator", now=self.now)
            elif what == "stop":
                accounts.pause(conn, "main", by="operator", reason="by hand", now=self.now)
            else:
                accounts.resume(conn, "main", actor="operator", now=self.now)

    # --- The promises -------------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self):
        messages = {(m.campaign_id, m.seq): m for m in rows(self.store, MESSAGE)}
        states = {key: MessageState(m.state) for key, m in messages.items()}
        self._nobody_twice(messages)
        self._nobody_lost(messages, states)
        for key, old in self.before.items():
            new = states[key]
            assert old is new or may_follow(old, new), f"{key}: {old.label} → {new.label}"
        self.before = states
        self._who_waits_has_somebody_who_will_come()
        assert_counts_agree(self.store)

    def _nobody_twice(self, messages):
        for key, ids in self.ledger.items():
            if len(ids) > 1:
                assert key in self.resent, f"{key} was accepted {len(ids)} times"
                assert Note.RESENT in Note(messages[key].note or 0)
        if self.resent:
            actions = [row.action for row in rows(self.store, AUDIT)]
            assert f"doubt {Choice.RESEND}" in actions

    def _nobody_lost(self, messages, states):
        is_open = ATTEMPT.c.outcome == AttemptOutcome.OPEN
        open_ = {row.id for row in rows(self.store, ATTEMPT, is_open)}
        for key, state in states.items():
            if self.ledger[key] and key not in self.resent | self.dropped:
                known = state in TAKEN | {MessageState.IN_DOUBT}
                known |= messages[key].attempt_id in open_
                assert known, f"{key} was accepted, and is {state.label}"
            if state in TAKEN and key not in self.assumed:
                assert self.ledger[key], f"{key} is {state.label}, and was never accepted"

    def _who_waits_has_somebody_who_will_come(self):
        """What is pending stands in a batch that can be released, or is held under a lease."""
        all_batches = rows(self.store, BATCH)
        out = [batch for batch in all_batches if batch.state in IN_FLIGHT]
        assert len(out) <= ACCOUNT.max_in_flight
        finished = CAMPAIGN.c.state == CampaignState.FINISHED
        over = {row.id for row in rows(self.store, CAMPAIGN, finished)}
        for batch in all_batches:
            state = BatchState(batch.state)
            assert not batch.pending or state in IN_FLIGHT | {BatchState.PENDING}
            assert not (batch.pending and batch.campaign_id in over)
            held = state in {BatchState.CLAIMED, BatchState.SUBMITTING}
            assert held == (batch.lease_until is not None)

    def _states(self):
        return {
            (row.campaign_id, row.seq): MessageState(row.state) for row in rows(self.store, MESSAGE)
        }

    def _messages(self, held):
        return rows(self.store, MESSAGE, held.messages)


TEMPLATE: list[Path] = []


def campaigns_in(conn, state):
    return conn.execute(sa.select(CAMPAIGN.c.id).where(CAMPAIGN.c.state == state)).scalars()


def stores_scheduler(conn):
    """The row that counts a sweep's corrections."""
    from dispatcher.store.sets import insert_or_ignore
    from dispatcher.store.tables import SCHEDULER

    insert_or_ignore(conn, SCHEDULER, {"id": 1, "corrections": "{}"})


@pytest.mark.timeout(3600 if EXAMPLES else 150)
def test_nobody_twice_and_nobody_lost_whatever_happens_in_whatever_order(tmp_path):
    path = tmp_path / "template.db"
    upgrade(f"sqlite:///{path}")
    TEMPLATE[:] = [path]
    run_state_machine_as_test(
        Promises,
        settings=settings(
            max_examples=EXAMPLES or 30,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
