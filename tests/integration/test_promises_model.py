"""The promises, checked after every step of whatever may happen to a campaign, in any order.

The machine plays schedulers, workers that die, Redis, the provider and the operator over the real
store, and says of each step what it must do; the oracle says what may never be.
`MODEL_EXAMPLES=2000` is the long edition.
"""

import itertools
import os
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dispatcher.campaigns import control as commands
from dispatcher.campaigns import resolution
from dispatcher.campaigns.resolution import DoubtChoice
from dispatcher.errors import Refused, StoreError
from dispatcher.outbound.release import release_batches
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.policy.batching import BatchSize
from dispatcher.policy.rebatching import BatchLimits, WaitingMessage
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import (
    accounts,
    batch_endings,
    batches,
    bundles,
    campaign_settings,
    campaigns,
    decisions,
    doubts,
    drops,
    fallback_moves,
    imports,
    locked_attempts,
    polls,
    rechecks,
    retries,
    scheduler,
    stops,
    suppressions,
    tickets,
)
from dispatcher.store.answers import JudgedAnswer
from dispatcher.store.attempts import NewAttempt
from dispatcher.store.bundles import BundleAnswer
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch
from dispatcher.store.engine import Store
from dispatcher.store.locks import (
    lock_account,
    lock_batches,
    lock_campaign,
    lock_campaigns_for_begin,
)
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.store.settlement import PollSchedule, Settlement
from dispatcher.store.tables import ATTEMPT, MESSAGE
from dispatcher.types import Recipient, Route
from tests.support import stores
from tests.support.folders import FOLDER
from tests.support.oracle import HELD, Key, Oracle
from tests.support.stores import FIRST_NUMBER, LEASE, NOW, POLL, add_account, add_campaign
from tests.support.transition_guard import install_guard
from workers.batch.failures import pause_refused_campaign

#: Further examples, drawn anew, of the long edition.
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
STEPS = 30
ACCOUNT = stores.settings(max_in_flight=2)
NAMES = ("main", "backup")
MAX_ATTEMPTS = 3
#: After the last moment at which the provider may accept a request: `begin` of `stores` has it so.
DEADLINE = timedelta(seconds=75)
M = MessageState
PENDING, SUBMITTED, IN_DOUBT, FAILED, CANCELLED, SUPPRESSED = (
    M.PENDING, M.SUBMITTED, M.IN_DOUBT, M.FAILED, M.CANCELLED, M.SUPPRESSED,
)  # fmt: skip
ROUTE = Route(sender="SENDER")
RECEIPTS = [M.DELIVERED, M.UNDELIVERED, M.EXPIRED]
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3)
MOST_CAMPAIGNS = 12
#: What a person may do, as often as it stands here.
COMMANDS = [
    *[commands.resume_campaign, commands.pause_campaign, resolution.retry_failed] * 3,
    commands.cancel_campaign,
]  # fmt: skip
CHOSEN = {
    DoubtChoice.RESEND: PENDING,
    DoubtChoice.DROP: FAILED,
    DoubtChoice.ASSUME_SUBMITTED: SUBMITTED,
}
#: How a request may fare at the provider; without a verdict its first byte never left.
FATES = ["accepted", "refused", "partial", "throttled", "lost answer", "lost request"]
#: What the other account takes: fewer in a request.
LIMITS = BatchLimits(
    size=BatchSize(2),
    max_bytes=10_000,
    max_parts=None,
    bytes_of=lambda _msisdn, _text: 1,
    requests_of=lambda _recipients: 1,
)


@dataclass
class Call:
    """One request of a worker, from its attempt row on."""

    attempt_id: int
    seqs: list[int]
    begun_at: datetime
    verdict: Verdict | None = None
    #: Whether its first byte has left, or never will.
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

    store: Store
    oracle: Oracle

    def __init__(self) -> None:
        super().__init__()
        self.oracle.reset()
        self.now = NOW
        self.tickets: list[tickets.Ticket] = []
        self.workers: list[Worker] = []
        self.old_polls: list[polls.PolledRequest] = []
        self.campaigns: list[int] = []
        #: A campaign whose file is being read.
        self.reading: imports.RunningImport | None = None
        #: What is on the suppression list: accounts (or "" for all) and numbers.
        self.listed: set[tuple[str, int]] = set()
        self.checks: list[rechecks.RecheckTicket] = []
        for name in NAMES:
            add_account(self.store, name)

    @initialize(sizes=SIZES)
    def submit(self, sizes):
        self._submit(sizes)

    def _submit(self, sizes, **values):
        made = add_campaign(self.store, sizes, state=CampaignState.SCHEDULED, **values)
        self.campaigns.append(made)
        self.oracle.step()

    @precondition(lambda self: len(self.campaigns) < 2)
    @rule(sizes=SIZES, is_checked=st.booleans())
    def submit_another(self, sizes, is_checked):
        """The same numbers again, in a campaign of its own; `is_checked`: once more before it."""
        self._submit(sizes, recheck_at=self.now if is_checked else None)

    # --- Files that are being read ------------------------------------------------------------

    @precondition(lambda self: self.reading is None and len(self.campaigns) < MOST_CAMPAIGNS)
    @rule(sizes=SIZES)
    def read_file(self, sizes):
        """A part of a file is stored, or all of it, and it is not accepted yet."""
        with self.store.write() as conn:
            self.reading = stores.start_import(
                conn, content_key=f"{len(self.campaigns)}", lease_until=self.now + LEASE
            )
            firsts = itertools.accumulate(sizes, initial=0)
            groups = [
                stores.new_batch(place, seq, size, FIRST_NUMBER)
                for place, (seq, size) in enumerate(zip(firsts, sizes, strict=False))
            ]
            imports.write_group(conn, self.reading, groups, [], lease_until=self.now + LEASE)
            counts = {"rows": sum(sizes), "total": sum(sizes)}
            imports.finish_import(conn, self.reading, counts, self.now + LEASE)
        self.oracle.step()

    @precondition(lambda self: self.reading is not None)
    @rule(is_cancelled=st.booleans())
    def end_reading(self, is_cancelled):
        """It is accepted; or a person cancels it, and who reads it goes on as if nothing was."""
        job, self.reading = self.reading, None
        if is_cancelled:
            self.oracle.forget(job.campaign_id)
            self._cancel_reading(job.campaign_id)
            with pytest.raises(Refused), self.store.write() as conn:
                imports.mark_import_accepted(conn, job, CampaignState.SCHEDULED, self.now)
        else:
            with self.store.write() as conn:
                imports.mark_import_accepted(conn, job, CampaignState.SCHEDULED, self.now)
            self.campaigns.append(job.campaign_id)
        _, new = self.oracle.step()
        state = CampaignState.CANCELLED if is_cancelled else CampaignState.SCHEDULED
        assert new.campaigns[job.campaign_id]["state"] == state
        left = [key for key in new.messages if key[0] == job.campaign_id]
        assert bool(left) is not is_cancelled

    def _cancel_reading(self, campaign_id):
        row = stores.campaign_of(self.store, campaign_id)
        with self.store.write() as conn:
            taken = imports.take_over_import(conn, row, self.now + LEASE)
        is_done = False
        while not is_done:
            with self.store.write() as conn:
                is_done = imports.cancel_group(
                    conn, taken, self.now + LEASE, reason="by hand", now=self.now
                )

    # --- All of it ----------------------------------------------------------------------------

    @rule(fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=4), split=st.booleans())
    def work(self, fates, split):
        self.go(fates, split=split)

    def go(self, fates, *, split):
        """Batches go their whole way, one after another, although something stopped them."""
        now = self.oracle.now
        for name in [name for name in NAMES if now.accounts[name]["paused_by"]]:
            self.turn_account("open", self.campaigns[-1], name)
        self.halt_or_go(halts=False, names=None)
        self.check_campaigns(passes=True)
        for row in now.campaigns.values():
            if row["state"] == CampaignState.PAUSED:
                self.steer(commands.resume_campaign, row["id"])
        for fate in fates:
            if not self._take_next():
                return
            worker = self.workers[-1]
            if not self._begin(worker, split=split):
                return
            for one in worker.calls:
                self._call(worker, one, fate)
                self._settle(worker, one, polled=True)

    @rule(data=st.data(), fate=st.sampled_from(FATES))
    def trouble(self, data, fate):
        self._get_into_trouble(data, [fate], split=False)

    @rule(data=st.data(), fates=st.lists(st.sampled_from(FATES), min_size=2, max_size=4))
    def trouble_of_several(self, data, fates):
        self._get_into_trouble(data, fates, split=True)

    @rule(data=st.data(), split=st.booleans())
    def trouble_before_the_first_byte(self, data, split):
        """Nothing of it leaves, and the worker says so, before or after others decided."""
        self._get_into_trouble(data, ["not sent", "accepted"][: 1 + split], split=split)

    @rule(data=st.data(), fate=st.sampled_from(["accepted", "refused"]))
    def trouble_with_a_clear_answer(self, data, fate):
        self._get_into_trouble(data, [fate], split=False)

    @rule(another=st.booleans())
    def trouble_before_it_begins(self, another):
        """A worker stands still after its claim; by then its batch may be another's."""
        self.go([], split=False)
        if not self._take_next():
            return
        worker = self.workers[-1]
        self._lease_runs_out()
        if another:
            self._claim(self.tickets[-1])
        self._begin(worker, split=False)

    @rule(data=st.data(), what=st.sampled_from(["stop", "stop all", "drop", "opt out", "refuse"]))
    def trouble_between_claim_and_begin(self, data, what):
        """A person decides while a worker builds its requests."""
        self.go([], split=False)
        if not self._take_next():
            return
        worker, claim = self.workers[-1], self.workers[-1].claim
        self._decide_meanwhile(what, claim, data.draw(st.sampled_from(span_of(claim))))
        if worker in self.workers:
            self._begin(worker, split=data.draw(st.booleans()))

    @rule(
        data=st.data(),
        what=st.sampled_from(["stop", "drop", "opt out"]),
        fate=st.sampled_from(FATES),
    )
    def trouble_during_a_turn(self, data, what, fate):
        """A person decides while requests are under way; the answers are stored all the same."""
        self.go([], split=False)
        if not self._take_next():
            return
        worker = self.workers[-1]
        if not self._begin(worker, split=data.draw(st.booleans())):
            return
        self._decide_meanwhile(
            what, worker.claim, data.draw(st.sampled_from(span_of(worker.claim)))
        )
        for one in worker.calls:
            self._call(worker, one, fate)
            self._settle(worker, one, polled=True)
        self.go(["accepted"], split=False)

    def _decide_meanwhile(self, what, claim, seq):
        match what:
            case "stop" | "stop all":
                self.halt_or_go(halts=True, names=None if what == "stop all" else [claim.account])
            case "drop":
                self._drop(claim.campaign_id, {seq})
            case "opt out":
                self._opt_out({seq}, claim.account, is_added=True)
            case "refuse":
                self._refuse(self.workers[-1])

    @rule(
        fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=2),
        resends=st.booleans(),
        state=st.sampled_from(RECEIPTS),
        last=st.sampled_from(FATES),
    )
    def trouble_after_the_receipts(self, fates, resends, state, last):
        """What did not arrive is retried, after doubt and resends too."""
        self.go(fates, split=False)
        campaign_id = self.workers[-1].claim.campaign_id if self.workers else self.campaigns[-1]
        if resends:
            self._resolve(campaign_id, DoubtChoice.RESEND)
            self.go(["accepted"], split=False)
        self._receive_all(state)
        self._retry(campaign_id, {M.UNDELIVERED, M.EXPIRED, M.REJECTED})
        self.go([last], split=False)

    def _get_into_trouble(self, data, fates, *, split):
        """A worker's requests reach the provider; the test says what happens before and after."""
        self.go([], split=False)
        if not self._take_next():
            return
        worker = self.workers[-1]
        if not self._begin(worker, split=split):
            return
        for one, fate in zip(worker.calls, itertools.cycle(fates), strict=False):
            if fate != "not sent":
                self._call(worker, one, fate)
        for _ in range(data.draw(st.integers(2, 6))):
            self._befall(worker, data.draw(st.sampled_from(self._may_befall(worker))))

    def _may_befall(self, worker):
        """What makes a difference now, as often as it is to come."""
        now, claim = self.oracle.now, worker.claim
        states = [now.state((claim.campaign_id, seq)) for seq in span_of(claim)]
        events = ["go on", "cancel", "two ticks", *["answers"] * 3]
        if FAILED in states:
            events += ["retry", *["answers"] * 2]
        if any(not one.left for one in worker.calls):
            events += ["not sent"]
        if is_held(now, claim, BatchState.SUBMITTING):
            events += [*["an answer"] * 2, *["lease runs out"] * 4]
        if IN_DOUBT in states:
            events += [*["look", "resend"] * 3, "drop", "assume-submitted"]
        elif PENDING in states:
            events += [*["fall back"] * 3, *["another begins"] * 3]
        return events

    def _take_next(self):
        """Claim what is released; where nothing is, once the leases of the dead have run out."""
        some_pending = any(self.oracle.now.state(k) is PENDING for k in self.oracle.now.messages)
        if not some_pending and len(self.campaigns) < MOST_CAMPAIGNS:
            self._submit([3, 2])
        for seconds in (1, 61, 1):
            self.time_passes(seconds)
            self.tick(published=True, schedulers=1, judged=True)
            if any(self._claim(ticket) for ticket in reversed(self.tickets[-3:])):
                return True
        return False

    def _befall(self, worker, event):
        campaign_id = worker.claim.campaign_id
        unsettled = [one for one in worker.calls if one.attempt_id not in worker.settled]
        happens = {
            "lease runs out": self._lease_runs_out,
            "look": lambda: (self.time_passes(61), self.look()),
            "two ticks": lambda: self.tick(published=True, schedulers=2, judged=True),
            "retry": lambda: self.steer(resolution.retry_failed, campaign_id),
            "not sent": lambda: self._not_sent(worker),
            "go on": lambda: self.go(["accepted"], split=False),
            "another begins": self._another_begins,
            "cancel": lambda: self.steer(commands.cancel_campaign, campaign_id),
            "fall back": lambda: self._fall_back(campaign_id),
            "an answer": lambda: self._settle(worker, unsettled[0], polled=True),
            "answers": lambda: [self._settle(worker, one, polled=True) for one in worker.calls],
            **{choice.value: partial(self._resolve, campaign_id, choice) for choice in DoubtChoice},
        }
        happens[event]()

    def _not_sent(self, worker):
        """The worker wakes, however late, and knows that nothing more has left."""
        for one in worker.calls:
            if not one.left:
                one.left = True
                self._settle(worker, one, polled=False)

    def _lease_runs_out(self):
        self.time_passes(61)
        self.tick(published=True, schedulers=2, judged=True)

    def _another_begins(self):
        self.go([], split=False)
        if self._take_next() and self._begin(self.workers[-1], split=False):
            for one in self.workers[-1].calls:
                self._call(self.workers[-1], one, "lost answer")

    # --- Schedulers and Redis -----------------------------------------------------------------

    @rule(published=st.booleans(), schedulers=st.integers(1, 2), judged=st.booleans())
    def ticks(self, published, schedulers, judged):
        self.tick(published=published, schedulers=schedulers, judged=judged)

    def tick(self, *, published, schedulers, judged):
        """One or two at a time; what they release may not reach Redis."""
        for _ in range(schedulers):
            self._sweep(judged=judged)
            for name in NAMES:
                self._release(name, published=published)
            with self.store.write() as conn:
                campaigns.finish_campaigns(conn, self.now)
            self.oracle.step()
            self._nobody_waits_to_be_finished()

    def _sweep(self, *, judged):
        with self.store.write() as conn:
            scheduler.begin_tick(conn, LEASE, lambda _conn: self.now)
            campaigns.lapse_expired(conn, self.now)
            campaigns.start_due(conn, self.now)
            judge_after = self.now if judged else self.now + LEASE
            self.tickets += sweep_batches(
                conn, now=self.now, judge_after=judge_after, requeue_after_s=30
            )
        old, new = self.oracle.step(
            (PENDING, M.LAPSED), (PENDING, IN_DOUBT), (PENDING, FAILED), (PENDING, CANCELLED),
            (PENDING, SUBMITTED),
        )  # fmt: skip
        for key in self.oracle.moved(old, PENDING):
            batch, attempt = old.homes[key], old.attempts.get(old.messages[key]["attempt_id"])
            if new.state(key) is M.LAPSED:
                assert batch["state"] not in HELD
                continue
            assert judged
            if new.state(key) is SUBMITTED:
                assert key in self.oracle.reported
                continue
            if new.state(key) is CANCELLED:
                assert old.campaigns[key[0]]["state"] == CampaignState.CANCELLED
            assert in_time(batch["lease_until"]) < self.now
            is_open = attempt is not None and attempt["outcome"] == AttemptOutcome.OPEN
            assert is_open == (new.state(key) is IN_DOUBT)
        for batch in new.batches.values() if judged else ():
            assert batch["lease_until"] is None or in_time(batch["lease_until"]) >= self.now

    def _release(self, name, *, published):
        with self.store.write() as conn:
            released = release_batches(conn, name, ACCOUNT, self.now)
        _old, new = self.oracle.step()
        for ticket in released:
            campaign = new.campaigns[new.batches[ticket.id]["campaign_id"]]
            assert campaign["state"] == CampaignState.RUNNING
            assert new.accounts[name]["paused_by"] is None
            assert new.accounts[name]["stopped_at"] is None
            assert campaign["recheck_at"] is None
            assert (campaign["account"], new.batches[ticket.id]["account"]) == (name, name)
        if published:
            self.tickets += released

    def _nobody_waits_to_be_finished(self):
        now = self.oracle.now
        for campaign in now.campaigns.values():
            mine = [a for a in now.attempts.values() if a["campaign_id"] == campaign["id"]]
            is_busy = any(a["poll_at"] or (a["doubt_at"] and a["reconcile_at"]) for a in mine)
            is_busy |= any(
                batch["state"] < BatchState.SETTLED
                for batch in now.batches.values()
                if batch["campaign_id"] == campaign["id"]
            )
            assert is_busy or campaign["state"] != CampaignState.RUNNING

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
            held = tickets.claim_bundle(conn, ticket.id, ticket.fence, self.now + LEASE)
        old, _new = self.oracle.step()
        key = tickets.bundle_key(ticket.id, ticket.fence)
        due = {
            batch["id"]
            for batch in old.batches.values()
            if batch["state"] == BatchState.QUEUED
            and (
                batch["bundle"] == key or (batch["id"], batch["fence"]) == (ticket.id, ticket.fence)
            )
        }
        assert {claim.id for claim in held} == due
        self.workers += map(Worker, held)
        return bool(held)

    def _alive(self, *, begun):
        return [w for w in self.workers if bool(w.calls) == begun and not w.is_dead]

    @precondition(lambda self: self._alive(begun=False))
    @rule(data=st.data(), split=st.booleans())
    def begin(self, data, split):
        self._begin(data.draw(st.sampled_from(self._alive(begun=False))), split=split)

    def _begin(self, worker, *, split):
        held = worker.claim
        keys = [(held.campaign_id, seq) for seq in span_of(held)]
        pending = [seq for c, seq in keys if self.oracle.now.state((c, seq)) is PENDING]
        requests = [[seq] for seq in pending] if split else [pending]
        ids = None
        # Rendered from what is no longer pending, it does not leave.
        with suppress(StoreError):
            ids = stores.begin(self.store, held, requests, now=self.now) if pending else None
        ids = ids or []
        old, new = self.oracle.step(
            (PENDING, CANCELLED), (PENDING, SUPPRESSED), (PENDING, SUBMITTED)
        )
        assert new.attempts.keys() - old.attempts.keys() == set(ids)
        for key in self.oracle.moved(old, PENDING):
            if new.state(key) is SUPPRESSED:
                assert self._is_listed(key, held.account)
                assert is_in(key, held)
            elif new.state(key) is SUBMITTED:
                assert key in self.oracle.reported
        if not ids:
            self.workers.remove(worker)
            return False
        self._has_begun(worker, ids, requests, old)
        return True

    def _has_begun(self, worker, ids, requests, old):
        """Its requests may leave from now on."""
        held, pending = worker.claim, list(itertools.chain(*requests))
        assert is_held(old, held, BatchState.CLAIMED)
        assert old.campaigns[held.campaign_id]["state"] == CampaignState.RUNNING
        assert old.accounts[held.account]["paused_by"] is None
        assert old.accounts[held.account]["stopped_at"] is None
        listed = [seq for seq in pending if self._is_listed((held.campaign_id, seq), held.account)]
        assert not listed, "they are on the suppression list"
        again = {(held.campaign_id, seq) for seq in pending} & self.oracle.reported
        assert not again, "its acceptance was reported, and it is sent again"
        for _worker, one in self._to_leave():
            again = {(_worker.claim.campaign_id, seq) for seq in one.seqs}
            again &= {(held.campaign_id, seq) for seq in pending}
            assert all(self.oracle.resent[key] for key in again), "two requests may carry it"
        calls = zip(ids, requests, strict=True)
        worker.calls = [Call(attempt_id, seqs, self.now) for attempt_id, seqs in calls]

    def _unbegun_together(self):
        """Workers that may begin in one transaction: they hold batches of one account."""
        alive = self._alive(begun=False)
        return [worker for worker in alive if worker.claim.account == alive[0].claim.account]

    @precondition(lambda self: len(self._unbegun_together()) > 1)
    @rule()
    def begin_together(self):
        self._begin_together(self._unbegun_together())

    def _begin_together(self, workers):
        """A bundle begins, a request for each recipient; what may not begin is given back."""
        account = workers[0].claim.account
        begun, requests = [], []
        with self.store.write() as conn:
            locked = bundles.lock_bundle(
                conn,
                account,
                campaign_ids={worker.claim.campaign_id for worker in workers},
                batch_ids={worker.claim.id for worker in workers},
            )
            for worker in workers:
                held = worker.claim
                keys = [(held.campaign_id, seq) for seq in span_of(held)]
                pending = [key for key in keys if self.oracle.now.state(key) is PENDING]
                state = locked.campaigns[held.campaign_id].campaign.state
                if (
                    state != CampaignState.RUNNING
                    or locked.account.is_closed
                    or not locked.is_held(held, BatchState.CLAIMED)
                    or any(self._is_listed(key, account) for key in pending)
                ):
                    batch_endings.hand_back(conn, held, now=self.now)
                elif pending:
                    begun.append(worker)
                    requests += [NewAttempt(held, [seq], self.now + DEADLINE) for _, seq in pending]
            claims = [worker.claim for worker in begun]
            ids = bundles.begin_bundle(conn, requests, claims, self.now) if requests else []
        old, new = self.oracle.step((PENDING, CANCELLED))
        assert new.attempts.keys() - old.attempts.keys() == set(ids)
        for worker in workers:
            if worker not in begun:
                self.workers.remove(worker)
                continue
            mine = [
                (attempt_id, one.seqs)
                for attempt_id, one in zip(ids, requests, strict=True)
                if one.claim == worker.claim
            ]
            self._has_begun(worker, *zip(*mine, strict=True), old)
        return begun

    def _plainly_answered(self):
        """Requests that accepted everybody, of batches that are held still."""
        return [
            (worker, one)
            for worker, one in self._answered()
            if one.verdict is not None
            and one.attempt_id not in worker.settled
            and len(one.verdict.accepted) == len(one.seqs)
            and is_held(self.oracle.now, worker.claim, BatchState.SUBMITTING)
        ]

    @precondition(lambda self: self._plainly_answered())
    @rule()
    def settle_together(self):
        self._settle_together(self._plainly_answered())

    def _settle_together(self, answered):
        """Plain answers of a bundle are stored at once, and what is through is closed."""
        must = {}
        for worker, one in answered:
            must |= self._must_become(worker.claim, one)
            worker.settled.add(one.attempt_id)
            self.oracle.reported |= {(worker.claim.campaign_id, seq) for seq in one.seqs}
        workers = {worker.claim.id: worker for worker, _one in answered}.values()
        claims = [each.claim for each in workers if len(each.settled) == len(each.calls)]
        with self.store.write() as conn:
            lock_campaigns_for_begin(conn, [claim.campaign_id for claim in claims])
            lock_batches(conn, [worker.claim.id for worker in workers])
            judged = [
                BundleAnswer(worker.claim, JudgedAnswer(one.attempt_id, one.verdict, POLL))
                for worker, one in answered
            ]
            bundles.settle_bundle(conn, judged, self.now)
            bundles.close_bundle(conn, claims)
        old, new = self.oracle.step((PENDING, SUBMITTED))
        for key in old.messages:
            became, due = new.state(key), must.get(key, old.state(key))
            assert became is due, f"{key} became {became.label}, not {due.label}"
        for worker, one in answered:
            assert new.attempts[one.attempt_id]["outcome"] == AttemptOutcome.ANSWERED
            if worker.claim in claims and not new.batches[worker.claim.id]["pending"]:
                assert new.batches[worker.claim.id]["state"] == BatchState.SETTLED

    @rule(fates=st.lists(st.sampled_from(FATES), min_size=2, max_size=4), ends=st.booleans())
    def trouble_in_a_bundle(self, fates, ends):
        """Two campaigns share a turn: what is plain is stored together, all else one by one."""
        self.go([], split=False)
        for _ in range(2):
            if len(self.campaigns) < MOST_CAMPAIGNS:
                self._submit([2, 1])
        if not self._take_next():
            return
        workers = self._begin_together(self._unbegun_together())
        for worker in workers:
            for one, fate in zip(worker.calls, itertools.cycle(fates), strict=False):
                self._call(worker, one, fate)
        if ends:
            self._lease_runs_out()
        if plain := self._plainly_answered():
            self._settle_together(plain)
        for worker in workers:
            for one in worker.calls:
                self._settle(worker, one, polled=True)

    @precondition(lambda self: self._alive(begun=False))
    @rule(data=st.data())
    def hand_back(self, data):
        worker = data.draw(st.sampled_from(self._alive(begun=False)))
        with self.store.write() as conn:
            batch_endings.hand_back(conn, worker.claim, now=self.now)
        self.oracle.step((PENDING, CANCELLED))
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
        self.oracle.step()

    def _answer(self, campaign_id, one, fate):
        def accept(seq):
            ids = self.oracle.ledger[campaign_id, seq]
            ids.append(f"id-{campaign_id}-{seq}-{one.attempt_id}")
            return Accepted(seq, ids[-1], None)

        doubts_of = [NotAccepted(seq, None, "no word of it") for seq in one.seqs]
        match fate:
            case "accepted":
                accepted = [accept(seq) for seq in one.seqs]
                return Verdict(outcome=AttemptOutcome.ANSWERED, accepted=accepted, job_id="job")
            case "refused":
                refused = [NotAccepted(seq, "42", "blocked") for seq in one.seqs]
                return Verdict(outcome=AttemptOutcome.REFUSED, rejected=refused)
            case "partial":  # in turn: accepted, refused, accepted but not mentioned
                taken = [accept(seq) for seq in one.seqs[0::3]]
                for seq in one.seqs[2::3]:
                    accept(seq)
                return Verdict(
                    outcome=AttemptOutcome.ANSWERED,
                    accepted=taken,
                    rejected=[NotAccepted(seq, "42", "blocked") for seq in one.seqs[1::3]],
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
        return [(w, one) for w in self._alive(begun=True) for one in w.calls if one.left]

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
        self._settle(worker, one, polled=False)

    def _settle(self, worker, one, *, polled):
        one.left = True  # from now on; without a verdict it never leaves
        must = self._must_become(worker.claim, one)
        worker.settled.add(one.attempt_id)
        closes = len(worker.settled) == len(worker.calls)
        answer = Settlement(
            claim=worker.claim,
            attempt_id=one.attempt_id,
            verdict=one.verdict,
            polling=PollSchedule(first_s=10, for_s=3600) if polled else None,
        )
        accepted = one.verdict.accepted if one.verdict else ()
        for entry in accepted:
            key = (worker.claim.campaign_id, entry.seq)
            if entry.provider_message_id in self.oracle.unspent(key):
                self.oracle.reported.add(key)
        with self.store.write() as conn:
            if closes:
                lock_account(conn, worker.claim.account)
                lock_campaign(conn, worker.claim.campaign_id)
            answer.apply_to(conn, self.now)
            if closes:
                batch_endings.close_batch(
                    conn,
                    worker.claim,
                    not_before=None,
                    error="try again",
                    failed_after=MAX_ATTEMPTS,
                    now=self.now,
                )
        old, new = self.oracle.step(
            (PENDING, SUBMITTED), (PENDING, M.REJECTED), (PENDING, IN_DOUBT), (PENDING, FAILED),
            (PENDING, CANCELLED), (IN_DOUBT, SUBMITTED), (IN_DOUBT, PENDING),
            (IN_DOUBT, CANCELLED), (FAILED, SUBMITTED),
        )  # fmt: skip
        ends = closes and is_held(old, worker.claim, BatchState.SUBMITTING)
        for key in old.messages:
            became, due = new.state(key), must.get(key, old.state(key))
            if ends and due is PENDING and is_in(key, worker.claim):
                assert became in {PENDING, FAILED, CANCELLED}
                assert key not in self.oracle.reported
            else:
                assert became is due, f"{key} became {became.label}, not {due.label}"
        at_home = [
            key
            for key, state in must.items()
            if state is SUBMITTED is not old.state(key)
            and old.homes[key]["id"] == worker.claim.id
            and key[1] in {entry.seq for entry in accepted}
        ]
        if polled and at_home:
            assert new.attempts[one.attempt_id]["poll_at"] is not None

    def _must_become(self, claim, one) -> dict[Key, MessageState]:
        """What an answer makes of its messages: all it says in time; late only what it proves."""
        now = self.oracle.now
        owned = is_held(now, claim, BatchState.SUBMITTING)
        expected = AttemptOutcome.OPEN if owned else AttemptOutcome.DOUBTFUL
        if now.attempts[one.attempt_id]["outcome"] != expected:
            return {}
        keys = [(claim.campaign_id, seq) for seq in one.seqs]
        accepted = {entry.seq for entry in one.verdict.accepted} if one.verdict else set()
        if not owned:
            return self._must_become_late(one, keys, accepted)
        became = {key: SUBMITTED if key[1] in accepted else PENDING for key in keys}
        if one.verdict:
            said = [(M.REJECTED, one.verdict.rejected), (IN_DOUBT, one.verdict.doubtful)]
            became |= {
                (claim.campaign_id, entry.seq): state for state, rows in said for entry in rows
            }
        for key in keys:  # whatever became of this request: an earlier one was accepted
            became[key] = SUBMITTED if key in self.oracle.reported else became[key]
            if now.state(key) is not PENDING:
                del became[key]
        return became

    def _must_become_late(self, one, keys, accepted):
        now = self.oracle.now
        if one.verdict is None:
            is_over = now.campaigns[keys[0][0]]["state"] == CampaignState.CANCELLED
            return {
                key: CANCELLED if is_over else PENDING
                for key in keys
                if now.state(key) is IN_DOUBT and now.messages[key]["attempt_id"] == one.attempt_id
            }
        # One that was known, and whose receipt let a person try again, says nothing of the retry.
        ids = {entry.seq: entry.provider_message_id for entry in one.verdict.accepted}
        return {
            key: SUBMITTED
            for key in keys
            if key[1] in accepted
            and ids[key[1]] not in self.oracle.spent[key]
            and now.state(key) in {PENDING, FAILED, IN_DOUBT}
            and now.attempts[now.messages[key]["attempt_id"]]["outcome"] != AttemptOutcome.OPEN
        }

    @rule()
    def renew(self):
        alive = {(w.claim.id, w.claim.fence) for w in self.workers if not w.is_dead}
        with self.store.write() as conn:
            batches.renew_leases(conn, alive, self.now + LEASE)
        old, new = self.oracle.step()
        for batch in new.batches.values():
            is_longer = batch["lease_until"] != old.batches[batch["id"]]["lease_until"]
            assert not is_longer or (batch["id"], batch["fence"]) in alive

    # --- Receipts -----------------------------------------------------------------------------

    @rule(data=st.data(), known=st.booleans())
    def poll(self, data, known):
        """Fresh polls, and old ones whose answer comes late."""
        with self.store.write() as conn:
            given = polls.lease_due_polls(conn, now=self.now, lease_until=self.now + LEASE, limit=2)
            found = [polls.load_poll(conn, ticket.id, ticket.polls) for ticket in given]
        self.old_polls += [one for one in found if one is not None]
        if not self.old_polls:
            return
        polled = data.draw(st.sampled_from(self.old_polls[-4:]))
        said = [
            Receipt(message.seq, data.draw(st.sampled_from(RECEIPTS)), None, None)
            for message in polled.open
            if known and data.draw(st.booleans())
        ]
        self._receive(polled, said)

    def _receive(self, polled, said):
        next_at = self.now + timedelta(seconds=30) if self.now < POLL.until else None
        with self.store.write() as conn:
            store_receipts(conn, polled, said, next_at=next_at, now=self.now)
        old, new = self.oracle.step(*[(SUBMITTED, state) for state in RECEIPTS])
        receipts = {(polled.campaign_id, one.seq): one.state for one in said}
        for key in old.messages:
            is_due = old.state(key) is SUBMITTED and key in receipts
            assert new.state(key) is (receipts[key] if is_due else old.state(key))

    def _receive_all(self, state):
        """All that is polled ends in this state."""
        self.time_passes(61)
        with self.store.write() as conn:
            given = polls.lease_due_polls(conn, now=self.now, lease_until=self.now + LEASE, limit=9)
            found = [polls.load_poll(conn, ticket.id, ticket.polls) for ticket in given]
        for polled in filter(None, found):
            self._receive(polled, [Receipt(one.seq, state, None, None) for one in polled.open])

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
            self.oracle.step(*[(IN_DOUBT, s) for s in (SUBMITTED, PENDING, FAILED, CANCELLED)])

    def _look_for(self, conn, attempt_id):
        case = locked_attempts.lock_attempt(conn, attempt_id)
        known = set(conn.execute(sa.select(MESSAGE.c.provider_message_id)).scalars())
        found, absent = [], []
        for row in doubts.load_doubtful(conn, attempt_id).recipients:
            ids = self.oracle.unspent((case.campaign.id, row.seq))
            note = DoubtNote(row.note or 0)
            free = [one for one in ids if one not in known]
            if free:
                found.append(
                    ListedMatch(row.seq, row.msisdn, free[0], None, int(note | DoubtNote.FOUND))
                )
            elif not ids:
                absent.append(AnnotatedMessage(row.seq, int(note | DoubtNote.ABSENT)))
        decisions.accept_listed(conn, case, found, poll=POLL, now=self.now)
        if absent and not case.is_at_provider:
            decisions.return_to_pending(conn, case, absent, failed_after=MAX_ATTEMPTS, now=self.now)
        decisions.reschedule_doubt(conn, case, next_at=self.now, looked=True)

    @rule(data=st.data(), choice=st.sampled_from(DoubtChoice))
    def resolve(self, data, choice):
        self._resolve(self._campaign(data), choice)

    def _resolve(self, campaign_id, choice):
        with suppress(Refused):
            resolution.resolve_doubts(self.store, str(campaign_id), choice)
        now, old = self.oracle, self.oracle.now
        # Before the check: what was chosen is known from here on.
        with self.store.read() as conn:
            query = sa.select(MESSAGE.c.campaign_id, MESSAGE.c.seq, MESSAGE.c.state)
            after = {(row.campaign_id, row.seq): row.state for row in conn.execute(query)}
        moved = [k for k in after if old.state(k) is IN_DOUBT and after[k] != IN_DOUBT]
        match choice:
            case DoubtChoice.RESEND:
                now.resent.update(moved)
            case DoubtChoice.DROP:
                now.dropped.update(moved)
            case DoubtChoice.ASSUME_SUBMITTED:
                now.assumed.update(moved)
        now.step((IN_DOUBT, CHOSEN[choice]))

    # --- The operator -------------------------------------------------------------------------

    def _campaign(self, data):
        return data.draw(st.sampled_from(self.campaigns))

    @rule(data=st.data(), command=st.sampled_from(COMMANDS))
    def command(self, data, command):
        self.steer(command, self._campaign(data))

    def steer(self, command, campaign_id):
        with suppress(Refused):
            command(self.store, str(campaign_id))
        may = {
            resolution.retry_failed: [(FAILED, PENDING)],
            commands.cancel_campaign: [(PENDING, CANCELLED)],
        }
        old, _new = self.oracle.step(*may.get(command, []))
        for key in self.oracle.moved(old, FAILED):
            assert key not in self.oracle.dropped
        for key in self.oracle.moved(old, PENDING):
            assert old.homes[key]["state"] not in HELD

    @rule(data=st.data(), what=st.sampled_from(["open", "pause", "expire"]))
    def turn(self, data, what):
        self.turn_account(what, self._campaign(data), data.draw(st.sampled_from(NAMES)))

    def turn_account(self, what, campaign_id, name):
        with self.store.write() as conn:
            if what == "expire":
                values = {"expire_at": self.now + timedelta(seconds=3600)}
                campaign_settings.change_settings(
                    conn, campaign_id, values, deadline_after=LEASE, actor="operator", now=self.now
                )
            elif what == "pause":
                accounts.pause_account(conn, name, by="operator", reason="by hand", now=self.now)
            else:
                accounts.resume_account(conn, name, actor="operator", now=self.now)
        self.oracle.step()

    @rule(data=st.data(), states=st.sets(st.sampled_from(retries.RETRYABLE), min_size=1))
    def retry(self, data, states):
        self._retry(self._campaign(data), states)

    def _retry(self, campaign_id, states):
        """A person has messages submitted again that did not arrive."""
        with suppress(Refused):
            resolution.retry_messages(self.store, str(campaign_id), states=states)
        old = self.oracle.now
        with self.store.read() as conn:
            query = sa.select(MESSAGE.c.campaign_id, MESSAGE.c.seq).where(
                MESSAGE.c.state == PENDING
            )
            pending = {(row.campaign_id, row.seq) for row in conn.execute(query)}
        moved = [key for key in pending if old.state(key) is not PENDING]
        # Before the check: what was decided is known from here on.
        for key in moved:
            if old.state(key) in {M.UNDELIVERED, M.EXPIRED}:
                assert len(self.oracle.unspent(key)) == 1, "another acceptance of it may arrive"
                self.oracle.retried(key)
        self.oracle.step(*[(state, PENDING) for state in states])
        for key in moved:
            assert key[0] == campaign_id
            assert key not in self.oracle.dropped | self.oracle.assumed
            assert old.homes[key]["state"] not in HELD
            assert old.campaigns[campaign_id]["state"] != CampaignState.CANCELLED

    @rule(names=st.sampled_from([None, *[[name] for name in NAMES]]), halts=st.booleans())
    def halt(self, names, halts):
        self.halt_or_go(halts=halts, names=names)

    def halt_or_go(self, *, halts, names):
        """`dispatcher stop` and `go`, of everything or of an account."""
        with self.store.write() as conn:
            if halts:
                stops.stop_accounts(conn, names, actor="operator", reason=None, now=self.now)
            else:
                stops.start_accounts(conn, names, actor="operator", now=self.now)
        _old, new = self.oracle.step()
        for name in names or NAMES:
            assert (new.accounts[name]["stopped_at"] is not None) == halts

    @rule(data=st.data(), seqs=st.sets(st.integers(0, 5), min_size=1, max_size=3))
    def drop(self, data, seqs):
        self._drop(self._campaign(data), seqs)

    def _drop(self, campaign_id, seqs):
        """Recipients are taken out while they are pending, and no worker holds their batch."""
        old = self.oracle.now
        with self.store.write() as conn:
            campaign = lock_campaign(conn, campaign_id)
            numbers = [FIRST_NUMBER + seq for seq in sorted(seqs)]
            said = drops.drop_recipients(conn, campaign, numbers, self.now)
        _old, new = self.oracle.step((PENDING, CANCELLED), (PENDING, SUBMITTED))
        moved = set(self.oracle.moved(old, PENDING))
        for seq in seqs:
            key, word = (campaign_id, seq), said[FIRST_NUMBER + seq]
            if key not in old.messages:
                assert word == drops.MISSING
            elif old.state(key) is not PENDING:
                assert word == old.state(key).label
            elif old.homes[key]["state"] in HELD:
                assert (word, new.state(key)) == (drops.IN_FLIGHT, PENDING)
            elif new.state(key) is SUBMITTED:
                assert word == SUBMITTED.label
            else:
                assert (word, new.state(key)) == ("dropped", CANCELLED)
                assert key not in self.oracle.reported
            moved.discard(key)
        assert all(key in self.oracle.reported and new.state(key) is SUBMITTED for key in moved)

    @rule(
        seqs=st.sets(st.integers(0, 5), min_size=1, max_size=2),
        account=st.sampled_from(["", *NAMES]),
        is_added=st.sampled_from([True, True, False]),
    )
    def opt_out(self, seqs, account, is_added):
        self._opt_out(seqs, account, is_added=is_added)

    def _opt_out(self, seqs, account, *, is_added):
        """Numbers come onto the suppression list, or leave it."""
        numbers = sorted(FIRST_NUMBER + seq for seq in seqs)
        with self.store.write() as conn:
            if is_added:
                origin = suppressions.SuppressionOrigin(None, "by hand", "operator")
                suppressions.add_numbers(conn, numbers, account, origin, self.now)
                suppressions.wait_for_begins(conn, account)
            else:
                suppressions.remove_numbers(conn, numbers, account)
        entries = {(account, number) for number in numbers}
        self.listed = self.listed | entries if is_added else self.listed - entries
        self.oracle.step()

    def _is_listed(self, key, account):
        number = FIRST_NUMBER + key[1]
        return bool({("", number), (account, number)} & self.listed)

    @precondition(lambda self: self._alive(begun=False))
    @rule(data=st.data())
    def refuse(self, data):
        self._refuse(data.draw(st.sampled_from(self._alive(begun=False))))

    def _refuse(self, worker):
        """A worker finds that its account may not text a recipient of the batch."""
        pause_refused_campaign(
            SimpleNamespace(store=self.store), worker.claim, Refused("not allowed", "change it")
        )
        self.oracle.step((PENDING, CANCELLED))
        self.workers.remove(worker)

    @rule(passes=st.booleans(), late=st.booleans(), again=st.booleans())
    def recheck(self, passes, late, again):
        self.check_campaigns(passes=passes, late=late, again=again)

    def check_campaigns(self, *, passes, late=False, again=True):
        """The provider is asked about campaigns that wait for that; `late`: an old answer comes."""
        with self.store.write() as conn:
            due = rechecks.due_rechecks(conn, self.now)
            given = rechecks.lease_rechecks(conn, due, now=self.now, lease_until=self.now + LEASE)
        self.checks += given
        if late:
            given = self.checks[-3:]
        old = self.oracle.now
        for ticket in given:
            with self.store.write() as conn:
                if passes:
                    rechecks.pass_recheck(conn, ticket.campaign_id, ticket.account, ROUTE)
                else:
                    rechecks.fail_recheck(conn, ticket, "no credit", self.now, again=again)
        _old, new = self.oracle.step()
        for campaign_id, row in old.campaigns.items():
            if row["recheck_at"] is None:
                assert new.campaigns[campaign_id]["recheck_at"] is None
                assert new.campaigns[campaign_id]["state"] == row["state"], "it had been checked"

    @rule(data=st.data())
    def fall_back(self, data):
        self._fall_back(self._campaign(data))

    def _fall_back(self, campaign_id):
        """What waits of a running campaign goes on by its other account, in smaller batches."""

        def shown(rows):
            return [
                WaitingMessage(Recipient(row.seq, row.msisdn, "Hello"), row.parts) for row in rows
            ]

        with self.store.write() as conn:
            campaign = lock_campaign(conn, campaign_id)
            is_moved = campaign.state == CampaignState.RUNNING
            if is_moved:
                to = NAMES[campaign.account == NAMES[0]]
                fallback_moves.switch_account(conn, campaign, to, "the other one is out", self.now)
                fallback_moves.move_batches(conn, campaign, to, LIMITS, shown, self.now)
        old, new = self.oracle.step()
        for key, row in old.messages.items():
            before, after = old.homes[key], new.homes[key]
            if old.state(key) is not PENDING or before["state"] in HELD:
                assert after["id"] == before["id"]
            elif is_moved and key[0] == campaign_id:
                assert after["account"] == to
            assert new.messages[key]["attempt_id"] == row["attempt_id"]


def span_of(claim):
    return range(claim.first_seq, claim.first_seq + claim.size)


def is_in(key, claim):
    return key[0] == claim.campaign_id and key[1] in span_of(claim)


def is_held(snapshot, claim, state):
    """Whether a batch is still in `state` under the same claim."""
    batch = snapshot.batches[claim.id]
    return (batch["fence"], batch["state"]) == (claim.fence, state)


def in_time(stored):
    """A time as the oracle reads it: SQLite has microseconds."""
    if isinstance(stored, datetime):
        return stored
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=stored)


@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_nobody_twice_and_nobody_lost_whatever_happens_in_whatever_order():
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        url = f"sqlite:///{Path(folder, 'store.db')}"
        upgrade_store(url)
        install_guard(url)
        run_model(url, max_examples=EXAMPLES or 11)


@pytest.mark.postgres
@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_the_same_holds_on_postgresql(emptied_postgres_url):
    run_model(emptied_postgres_url, max_examples=EXAMPLES or 3)


def run_model(url, *, max_examples):
    with (
        closing(Store(url)) as Promises.store,
        closing(Oracle(Promises.store, max_in_flight=ACCOUNT.max_in_flight)) as Promises.oracle,
    ):
        run_state_machine_as_test(
            Promises,
            settings=settings(
                max_examples=max_examples,
                stateful_step_count=STEPS,
                derandomize=not EXAMPLES,
                # Shrinking takes minutes; what is found is found again by the long edition.
                phases=[Phase.generate] + [Phase.shrink] * bool(EXAMPLES),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert Promises.oracle.steps > 80 * max_examples
