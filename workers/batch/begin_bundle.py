"""Beginning requests of a bundle: as `begin.py`, for several batches in one transaction.

Each batch is checked by itself under the locks. One that may not begin is handed back, and the
others go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from dispatcher.campaigns.gate import send_permission
from dispatcher.outbound.departure import boottime_s
from dispatcher.policy.fair_queue import end_of_day
from dispatcher.policy.pacing import (
    DEADLINE_SLACK_S,
    LEAD_S,
    ROUNDING_S,
    ClockReading,
    Starts,
    lead_s,
)
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import accounts, batch_endings, bundles
from dispatcher.store.attempts import (
    BegunBatch,
    LockedForBegin,
    NewAttempt,
    suppress_recipients,
)
from dispatcher.store.batches import Claim
from dispatcher.store.bundles import LockedBundle
from dispatcher.store.engine import store_now
from dispatcher.store.rows import AccountRow
from workers.batch.begin import (
    BegunGroup,
    WrittenBegin,
    numbers_within_the_day,
    plan_group,
    seconds_of_earlier,
)
from workers.batch.bundle import BundleSettler, Stored
from workers.batch.prepared import PreparedBatch, PreparedBundle
from workers.batch.rates import BatchCosts
from workers.batch.settle import JudgedRequest
from workers.services import Services


@dataclass(slots=True)
class _Done:
    """What a transaction has done; without `begun` more may begin in `wait_s`, if at all."""

    stored: Stored
    refused: list[Claim] = field(default_factory=list)
    begun: WrittenBegin | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleBegin:
    """Begins requests of a bundle; `settler` knows what became of each batch."""

    services: Services
    bundle: PreparedBundle
    costs: BatchCosts
    settler: BundleSettler

    def begin_requests(
        self, numbers: Sequence[int], judged: Sequence[JudgedRequest], *, is_first: bool
    ) -> BegunGroup | float | None:
        """Begin the first of the requests `numbers` that may start soon.

        Stores `judged`, which are plain, in the same transaction, whatever becomes of the begin.
        `is_first`: nothing of the bundle has begun yet. Returns seconds where something may begin
        later, and None where nothing may begin any more. Raises StoreError, as `begin.py`.
        """
        with self.services.store.write() as conn:
            done = self._write_begin(conn, numbers, judged, is_first=is_first)
        self.settler.note_stored(done.stored)
        self.settler.note_refused(done.refused)
        if done.begun is None:
            return done.wait_s
        group = plan_group(self.services, self.bundle, self.costs, done.begun)
        self.settler.note_begun(group.attempt_ids)
        return group

    def _write_begin(
        self,
        conn: Connection,
        numbers: Sequence[int],
        judged: Sequence[JudgedRequest],
        *,
        is_first: bool,
    ) -> _Done:
        closing, beginning = self.settler.finished(), self.bundle.batches_of(numbers)
        claims = [*closing, *(batch.claim for batch in beginning)]
        locked = bundles.lock_bundle(
            conn,
            self.bundle.account_name,
            campaign_ids={claim.campaign_id for claim in claims},
            batch_ids={claim.id for claim in claims}
            | {each.settlement.claim.id for each in judged},
        )
        reading = ClockReading.take(partial(store_now, conn), boottime_s)
        now = reading.now
        self.settler.note_reached(conn, judged, now)
        done = _Done(self.settler.store_in(conn, judged, closing, locked.holds, now))
        numbers = numbers_within_the_day(self.bundle, numbers, locked.account, now)
        if not numbers or not _is_open(locked.account, now):
            return done
        until = []
        for batch in beginning:
            seqs = self.bundle.seqs_of(batch, numbers)
            row = locked.campaigns[batch.claim.campaign_id].campaign
            permission = send_permission(batch.provider.settings, row, batch.claim.zone, now)
            if permission.is_open and self._may_begin(conn, batch, seqs, locked, now):
                until.append(permission.until)
                continue
            done.refused.append(batch.claim)
            if locked.is_held(batch.claim, BatchState.CLAIMED):
                batch_endings.hand_back(conn, batch.claim, now=now)
        numbers = [n for n in numbers if self.bundle.claim_of(n) not in done.refused]
        if numbers:
            closes = min((each for each in until if each is not None), default=None)
            self._give_starts(conn, numbers, locked, reading, closes, done, is_first=is_first)
        else:
            done.wait_s = 0.0  # others of the bundle may begin
        return done

    def _may_begin(
        self,
        conn: Connection,
        batch: PreparedBatch,
        seqs: Sequence[int],
        locked: LockedBundle,
        now: datetime,
    ) -> bool:
        """Whether requests of a batch may begin, inside its window. Suppresses who is listed."""
        claim, found = batch.claim, locked.campaigns[batch.claim.campaign_id]
        state = BatchState.SUBMITTING if self.settler.has_begun(claim) else BatchState.CLAIMED
        if (
            found.campaign.state != CampaignState.RUNNING
            or found.campaign.rate is not None  # it is sent by itself, at its own rate
            or not locked.is_held(claim, state)
        ):
            return False
        if not seqs or not (found.has_suppressions or found.has_erased):
            return True
        listed = LockedForBegin(
            account=locked.account,
            campaign=found.campaign,
            has_suppressions=found.has_suppressions,
            has_erased=found.has_erased,
        )
        return not suppress_recipients(conn, claim, [seqs], listed, now)

    def _give_starts(
        self,
        conn: Connection,
        numbers: Sequence[int],
        locked: LockedBundle,
        reading: ClockReading,
        closes: datetime | None,
        done: _Done,
        *,
        is_first: bool,
    ) -> None:
        """Begin those of the requests whose start is near; or note in which time one is."""
        now, claim = reading.now, self.bundle.claim_of(numbers[0])
        row = locked.campaigns[claim.campaign_id].campaign
        payers = LockedForBegin(account=locked.account, campaign=row)
        pace = self.services.paces.of(self.bundle.account_name)
        starts = pace.find_starts(
            conn,
            reading,
            self.costs.keys,
            [self.costs.spacings[number] for number in numbers],
            [rate.paid_s(payers, now) for rate in self.costs.rates],
        )
        begins_s = starts.at_s[0] if starts.at_s else starts.next_s
        if is_first:
            begins_s += seconds_of_earlier(conn, claim, self.costs, payers, now)
        if not starts.at_s or begins_s > lead_s(pace.commit_s) + ROUNDING_S:
            done.wait_s = max(0.0, begins_s - LEAD_S / 2)
            return
        numbers = numbers[: len(starts.at_s)]
        claims = {claim.id: claim for claim in map(self.bundle.claim_of, numbers)}
        fresh = [each for each in claims.values() if not self.settler.has_begun(each)]
        ids = bundles.begin_bundle(conn, self._requests(numbers, starts, now), fresh, now)
        self._pay(conn, numbers, starts, locked.account, now)
        begun = BegunBatch(attempt_ids=ids, at=now, until=closes)
        done.begun = WrittenBegin(numbers, starts, begun, reading, fresh)

    def _requests(self, numbers: Sequence[int], starts: Starts, now: datetime) -> list[NewAttempt]:
        timeout_s = self.bundle.provider.settings.timeout_s + DEADLINE_SLACK_S
        return [
            NewAttempt(
                self.bundle.claim_of(number),
                [each.seq for each in self.bundle.requests[number].recipients],
                now + timedelta(seconds=timeout_s + at_s),
            )
            for number, at_s in zip(numbers, starts.at_s, strict=True)
        ]

    def _pay(
        self,
        conn: Connection,
        numbers: Sequence[int],
        starts: Starts,
        account: AccountRow | None,
        now: datetime,
    ) -> None:
        """Pay the account's rates, and count the messages in its day."""
        name, settings = self.bundle.account_name, self.bundle.provider.settings
        paid_for_s = {rate.unit: s for rate, s in zip(self.costs.rates, starts.paid_s, strict=True)}
        accounts.record_paid_until(conn, name, paid_for_s, now)
        if settings.daily_limit is not None and account is not None:
            messages = sum(len(self.bundle.requests[number].recipients) for number in numbers)
            day_until = end_of_day(now, self.services.zone_of(name))
            accounts.count_today(conn, account, messages, day_until, now)


def _is_open(account: AccountRow | None, now: datetime) -> bool:
    """Whether requests of the account may begin at all."""
    return (
        account is not None
        and not account.is_closed
        and (account.not_before is None or account.not_before <= now)
        and account.breaker is None
    )
