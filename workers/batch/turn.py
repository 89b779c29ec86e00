"""A batch's turn: its requests leave through a sliding window, for about a second.

Requests begin in groups whose commit they share, and so are their answers stored. What has not
begun when the turn ends becomes pending again. While some answers are slow, a campaign that has
its account for itself goes on in the slots that are free.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, filterfalse, islice
from typing import Final

from dispatcher.errors import StoreError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound.departure import NotBegun
from dispatcher.policy.concurrency import Observation
from dispatcher.policy.fair_queue import SHORT_WAIT_S, TURN_S, slots_of
from dispatcher.store.settlement import Settlement
from workers.batch.begin import BegunGroup, Stagger
from workers.batch.durable_write import write_durably
from workers.batch.prepared import PreparedBatch, PreparedBundle
from workers.batch.settle import EndedRequest, JudgedRequest
from workers.batch.steps import open_steps
from workers.meters import note_answer, note_begun, note_ended
from workers.services import Services

log = logging.getLogger(__name__)

#: What is logged before the first request of a batch leaves: its id and its fence.
LEAVING: Final = "batch %d, fence %d: requests leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReport:
    """What came of a turn: messages by campaign id that did not leave, and its slots in the end.

    `is_unbegun`: nothing has begun, and the batch is still held; its start is `wait_s` away.
    """

    unsent_of: Mapping[int, int]
    slots: int
    is_unbegun: bool
    wait_s: float
    #: The counts of the answers; None if nothing has begun.
    summary: str | None
    #: Something is in doubt, or the provider did not do what it was asked.
    has_problem: bool

    @property
    def unsent(self) -> int:
        """How many messages did not leave."""
        return sum(self.unsent_of.values())


class Turn:
    """Submits a prepared batch with at most its share of the account's slots under way."""

    def __init__(self, services: Services, batch: PreparedBatch | PreparedBundle) -> None:
        self._services = services
        self._batch = batch
        self._account = batch.account_name
        self._slots = self._share_of_slots()
        self._steps = open_steps(services, batch)
        self._settler = self._steps.settler
        self._todo = deque(range(len(batch.requests)))
        #: Requests that may not begin any more, although others may.
        self._refused: list[int] = []
        self._attempt_ids: dict[int, int] = {}
        self._last_attempt_id = 0
        self._flight = services.runtime.open_flight(timeout_s=batch.provider.settings.timeout_s)
        self._ends_at: float | None = None
        self._next_begin_at = 0.0
        self._begun = 0
        self._is_over = False
        self._was_full = False
        #: Answers that are not stored yet.
        self._judged: list[JudgedRequest] = []
        self._wait_s = 0.0
        #: Once, so that nobody waits long for a batch that is slow.
        self._may_stagger = True

    def run(self) -> TurnReport:
        """Make the requests and store their answers. Raises StoreError where a begin failed."""
        try:
            return self._run()
        finally:
            note_ended(self._account, "submit", self._flight.under_way)
            self._flight.close()

    def _run(self) -> TurnReport:
        started_at = time.monotonic()
        failure: StoreError | None = None
        while True:
            try:
                self._begin_more()
            except StoreError as error:
                failure, self._is_over = error, True
            is_done = not self._flight.under_way and (self._is_over or not self._todo)
            if self._judged or self._steps.has_work or (is_done and self._begun):
                self._settle(is_last=is_done and failure is None)
            if is_done:
                break
            if self._flight.under_way:
                self._collect()
            else:
                self._services.stopping.wait(max(0.0, self._next_begin_at - time.monotonic()))
        if failure is not None:
            self._hand_back_unsent()
            raise failure
        if self._begun:
            self._steps.log_end(time.monotonic() - started_at)
        return self._report()

    def _begin_more(self) -> None:
        """Begin requests for the free slots, unless the turn is over; store answers with them."""
        free = self._slots - self._flight.under_way
        now = time.monotonic()
        if self._ends_at is not None and now >= self._ends_at:
            self._end_or_extend()
        self._is_over |= self._services.stopping.is_set()
        if not self._todo or self._is_over or now < self._next_begin_at:
            return
        if free <= 0:
            return
        if self._steps.must_settle_first(self._judged):
            self._settle(is_last=False)
        pace = self._services.paces.of(self._account)
        begun = self._steps.begin_requests(
            list(islice(self._todo, free)),
            self._judged,
            is_first=not self._begun,
            may_stagger=self._may_stagger,
        )
        self._judged = []
        self._refused += filterfalse(self._steps.may_begin, self._todo)
        self._todo = deque(filter(self._steps.may_begin, self._todo))
        pace.note_begin(time.monotonic() - now)
        if not isinstance(begun, BegunGroup):
            self._put_off(begun)
            return
        if self._ends_at is None:
            self._ends_at = time.monotonic() + TURN_S
        for claim in begun.fresh:
            # If this process dies now, its log shows that this batch's doubts are its own.
            log_event(
                log, LogEvent.BATCH_LEAVES, LEAVING, claim.id, claim.fence, **claim.log_fields
            )
        self._services.rollback_guard.record_attempts(list(begun.attempt_ids.values()))
        for _ in begun.requests:
            self._todo.popleft()
        self._begun += len(begun.requests)
        self._attempt_ids.update(begun.attempt_ids)
        self._last_attempt_id = max(begun.attempt_ids.values())
        note_begun(self._account, "submit", len(begun.requests))
        self._flight.send(begun.requests)
        self._was_full |= bool(self._todo) and len(begun.requests) == free
        if len(begun.requests) < free:
            # The others start later: some of them begin together.
            self._next_begin_at = time.monotonic() + begun.wait_s

    def _end_or_extend(self) -> None:
        """End the turn, unless slow answers would keep its slots from being used by anybody."""
        if self._flight.under_way and self._todo and not self._is_over:
            with self._services.store.read() as conn:
                is_alone = self._steps.is_alone(conn)
            if is_alone and self._ends_at is not None:
                self._ends_at += TURN_S
                return
        self._is_over = True

    def _put_off(self, begun: Stagger | float | None) -> None:
        """Nothing has begun: come back later, or end the turn."""
        if begun is None:
            self._is_over = True
        elif isinstance(begun, Stagger):
            self._may_stagger = False
            self._wait_for_start(begun.wait_s)
        else:
            self._wait_for_start(begun)

    def _wait_for_start(self, wait_s: float) -> None:
        """Come back shortly before the next free start, or end where it is too far away."""
        self._next_begin_at = time.monotonic() + wait_s
        most = SHORT_WAIT_S if self._ends_at is None else self._ends_at - time.monotonic()
        if wait_s > most:
            self._wait_s, self._is_over = wait_s, True

    def _collect(self) -> None:
        """Judge the answers that have come; wait for one, or until more may begin."""
        timeout_s = self._batch.provider.settings.timeout_s
        if self._todo and not self._is_over and self._flight.under_way < self._slots:
            timeout_s = max(0.0, self._next_begin_at - time.monotonic())
        answer_times_s = []
        for number, answer, took_s in self._flight.collect(timeout_s=timeout_s):
            request = self._batch.requests[number]
            ended = EndedRequest(self._attempt_ids.pop(number), request, answer)
            judged = self._settler.judge_answer(ended)
            self._judged.append(judged)
            note_ended(self._account, "submit")
            if isinstance(answer, NotBegun):
                self._todo.appendleft(number)
            else:
                answer_times_s.append(took_s)
                note_answer(
                    self._account, "submit", took_s, judged.error.kind if judged.error else None
                )
        self._adapt_slots(answer_times_s)
        if self._settler.must_stop:
            self._flight.stop()
            self._is_over = True

    def _settle(self, *, is_last: bool) -> None:
        """Store the answers that no begin has stored."""
        judged, self._judged = self._judged, []
        self._settler.settle_answers(judged, is_last=is_last)

    def _hand_back_unsent(self) -> None:
        """After a begin of which it is unknown whether it was stored; surely nothing of it left."""
        for claim in self._steps.open_claims:
            unsent = Settlement(
                claim=claim, attempt_id=None, after_attempt_id=self._last_attempt_id
            )
            write_durably(self._services, unsent.apply_to, [unsent])

    def _report(self) -> TurnReport:
        unsent = Counter[int]()
        for number in chain(self._refused, self._todo):
            messages = len(self._batch.requests[number].recipients)
            unsent[self._batch.campaign_id_of(number)] += messages
        return TurnReport(
            unsent_of=unsent,
            slots=self._slots,
            is_unbegun=not self._begun and bool(self._steps.open_claims),
            wait_s=self._wait_s,
            summary=str(self._settler) if self._begun else None,
            has_problem=self._settler.has_problem,
        )

    def _share_of_slots(self) -> int:
        configured = self._batch.provider.settings.max_in_flight
        most = self._services.release_clock.max_in_flight(self._account, configured)
        return slots_of(len(self._batch.requests), most)

    def _adapt_slots(self, answer_times_s: Sequence[float]) -> None:
        """Tell how the provider answers; where nobody set the number of slots, it follows."""
        if not answer_times_s:
            return
        requests = self._batch.requests
        interval_s = self._steps.costs.interval_s(0)
        seen = Observation(
            answer_times_s=answer_times_s,
            commits_s=2 * self._services.paces.of(self._account).begin_s,
            is_throttled=self._settler.is_throttled,
            was_full=self._was_full,
            requests_per_second=1 / interval_s if interval_s else None,
            is_single=len(requests[0].recipients) == 1,
        )
        self._services.release_clock.note_answers(self._account, seen)
        self._slots, self._was_full = self._share_of_slots(), False
