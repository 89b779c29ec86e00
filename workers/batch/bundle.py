"""Settling a bundle: small batches of one account that share a turn.

Answers that accepted everybody are stored for all batches together, and batches of which nothing is
left are closed together. All else is done batch by batch, by each batch's own settler.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound.departure import NotBegun
from dispatcher.policy.breaker import ProbeSignal
from dispatcher.status import BatchState
from dispatcher.store import batch_endings, bundles
from dispatcher.store.batches import Claim
from dispatcher.store.bundles import BundleAnswer
from dispatcher.store.locks import BatchHold, lock_batches, lock_campaigns_for_begin
from dispatcher.store.settlement import refuse_other_store
from workers.batch.durable_write import write_durably
from workers.batch.prepared import PreparedBatch, PreparedBundle
from workers.batch.settle import BatchSettler, EndedRequest, JudgedRequest, note_health
from workers.services import Services

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Part:
    """One batch of a bundle, and how far it is."""

    batch: PreparedBatch
    settler: BatchSettler
    #: Requests that have not begun, and those that wait for their answer.
    unbegun: int
    under_way: int = 0
    has_begun: bool = False
    #: Whether nothing more of it may begin.
    is_refused: bool = False
    #: Whether it is not ours any more.
    is_closed: bool = False

    @property
    def claim(self) -> Claim:
        return self.batch.claim

    @property
    def is_finished(self) -> bool:
        """Whether all of its answers have come, and it has to be closed."""
        is_through = not self.under_way and (self.is_refused or not self.unbegun)
        return self.has_begun and is_through and not self.is_closed


class Stored(NamedTuple):
    """What a transaction has done: batches that it closed, and answers that came too late for it.

    The latter are stored by themselves.
    """

    closed: set[int]
    late: list[JudgedRequest]


class BundleSettler:
    """Stores the answers to the requests of a bundle, and closes its batches.

    A batch is closed soon after its last answer: it does not wait for the others.
    """

    def __init__(self, services: Services, bundle: PreparedBundle) -> None:
        self._services = services
        self._bundle = bundle
        self._parts = [
            _Part(each, BatchSettler(services, each), len(each.requests)) for each in bundle.batches
        ]
        self._part_of = {part.claim.id: part for part in self._parts}
        self._part_of_attempt: dict[int, _Part] = {}
        self._late: list[JudgedRequest] = []

    def __str__(self) -> str:
        parts = [part for part in self._parts if part.has_begun]
        return "; ".join(f"campaign {part.claim.campaign_id}: {part.settler}" for part in parts)

    @property
    def has_problem(self) -> bool:
        """Whether something is in doubt, or a request failed."""
        return any(part.settler.has_problem for part in self._parts)

    @property
    def is_throttled(self) -> bool:
        """Whether the provider asked for fewer requests."""
        return any(part.settler.is_throttled for part in self._parts)

    @property
    def must_stop(self) -> bool:
        """Whether nothing more of the bundle should leave now."""
        return any(part.settler.must_stop for part in self._parts)

    @property
    def has_work(self) -> bool:
        """Whether there is something to store although no further answer has come."""
        return bool(self._late) or any(part.is_finished for part in self._parts)

    @property
    def open_claims(self) -> list[Claim]:
        """The claims of batches that are ours still."""
        return [part.claim for part in self._parts if not part.is_closed]

    def may_begin(self, number: int) -> bool:
        """Whether nothing forbids that this request begins later."""
        return not self._part_at(number).is_refused

    def has_begun(self, claim: Claim) -> bool:
        """Whether a request of the claim's batch has begun."""
        return self._part_of[claim.id].has_begun

    def _part_at(self, number: int) -> _Part:
        return self._parts[self._bundle.places[number]]

    def note_begun(self, attempt_ids: Mapping[int, int]) -> None:
        """Note the attempts of requests that have begun, by number."""
        for number, attempt_id in attempt_ids.items():
            part = self._part_of_attempt[attempt_id] = self._part_at(number)
            part.has_begun = True
            part.unbegun -= 1
            part.under_way += 1

    def note_refused(self, claims: Iterable[Claim]) -> None:
        """Note batches of which nothing more may begin; those that had not were handed back."""
        for claim in claims:
            part = self._part_of[claim.id]
            part.is_refused = True
            part.is_closed |= not part.has_begun

    def judge_answer(self, ended: EndedRequest) -> JudgedRequest:
        """What the answer to a request means for its recipients."""
        part = self._part_of_attempt.pop(ended.attempt_id)
        part.under_way -= 1
        part.unbegun += isinstance(ended.answer, NotBegun)
        return part.settler.judge_answer(ended)

    def finished(self) -> list[Claim]:
        """The claims of batches that a begin may close along with its own work."""
        return [each.claim for each in self._parts if each.is_finished and each.settler.is_clean]

    def store_in(
        self,
        conn: Connection,
        judged: Sequence[JudgedRequest],
        closing: Sequence[Claim],
        holds: Mapping[int, BatchHold],
        now: datetime,
    ) -> Stored:
        """Store plain answers, and close batches of which nothing is left.

        Lock the campaigns of those that are closed, and all of their batches, before. A second time
        changes nothing. Tell `note_stored` after the commit. Raises StoreDataError where they were
        claimed in another store.
        """
        if judged or closing:
            refuse_other_store(conn, self._parts[0].claim)
        late = [each for each in judged if not _holds_claim(each.settlement.claim, holds)]
        in_time = [each for each in judged if _holds_claim(each.settlement.claim, holds)]
        answers = [
            BundleAnswer(settlement.claim, answer)
            for settlement, _error in in_time
            if (answer := settlement.to_judged_answer(now)) is not None
        ]
        bundles.settle_bundle(conn, answers, now)
        late_ids = {each.settlement.claim.id for each in late}
        ending = [claim for claim in closing if claim.id not in late_ids]
        return Stored(bundles.close_bundle(conn, ending) if ending else set(), late)

    def note_stored(self, stored: Stored) -> None:
        """Note what a transaction has done, after its commit."""
        self._late += stored.late
        for part in self._parts:
            if part.claim.id in stored.closed:
                self._note_closed(part)

    def settle_answers(self, judged: Sequence[JudgedRequest], *, is_last: bool) -> None:
        """Store answers, and close batches that are finished; with `is_last` all of them."""
        odd = [each for each in judged if not is_plain(each)]
        self._settle_by_batch([*self._late, *odd])
        self._late = []
        self._settle_plain([each for each in judged if is_plain(each)])
        self._settle_by_batch(self._late)
        self._late = []
        for part in self._parts:
            if part.is_finished or (is_last and part.has_begun and not part.is_closed):
                part.settler.settle_answers([], is_last=True)
                self._note_closed(part)
        if is_last:
            unused = [part for part in self._parts if not part.is_closed]
            self._hand_back([part.claim for part in unused])
            for part in unused:
                part.is_closed = True

    def _settle_plain(self, judged: Sequence[JudgedRequest]) -> None:
        closing = self.finished()
        if not judged and not closing:
            return
        stored = Stored(set(), [])

        def write(conn: Connection, now: datetime) -> None:
            nonlocal stored
            self.note_reached(conn, judged, now)
            lock_campaigns_for_begin(conn, [claim.campaign_id for claim in closing])
            claims = [*closing, *(each.settlement.claim for each in judged)]
            holds = lock_batches(conn, [*{claim.id for claim in claims}])
            stored = self.store_in(conn, judged, closing, holds, now)

        settlements = [settlement for settlement, _error in judged]
        if write_durably(self._services, write, settlements):
            self.note_stored(stored)
            return
        for settlement in settlements:
            self._part_of[settlement.claim.id].settler.is_stored = False

    def note_reached(
        self, conn: Connection, judged: Sequence[JudgedRequest], now: datetime
    ) -> None:
        """Note that the provider has accepted something: a second success changes nothing."""
        if judged:
            note_health(conn, self._parts[0].batch, None, ProbeSignal.REACHED, now)

    def _settle_by_batch(self, judged: Sequence[JudgedRequest]) -> None:
        of_batch = defaultdict[int, list[JudgedRequest]](list)
        for each in judged:
            of_batch[each.settlement.claim.id].append(each)
        for batch_id, answers in of_batch.items():
            self._part_of[batch_id].settler.settle_answers(answers, is_last=False)

    def _hand_back(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return

        def write(conn: Connection, now: datetime) -> None:
            # All campaigns first, and the batches in the order of their ids: others lock them so.
            lock_campaigns_for_begin(conn, [claim.campaign_id for claim in claims])
            lock_batches(conn, [claim.id for claim in claims])
            for claim in claims:
                batch_endings.hand_back(conn, claim, now=now)

        write_durably(self._services, write)

    def _note_closed(self, part: _Part) -> None:
        part.is_closed = True
        log_event(
            log, LogEvent.BATCH_SETTLED, "batch %d: %s", part.claim.id, part.settler,
            **part.claim.log_fields,
        )  # fmt: skip


def is_plain(judged: JudgedRequest) -> bool:
    """Whether an answer accepted everybody."""
    settlement, error = judged
    verdict = settlement.verdict
    return (
        error is None
        and verdict is not None
        and not verdict.rejected
        and not verdict.doubtful
        and bool(verdict.accepted)
    )


def _holds_claim(claim: Claim, holds: Mapping[int, BatchHold]) -> bool:
    hold = holds[claim.id]
    return hold.fence == claim.fence and hold.state == BatchState.SUBMITTING
