"""A batch's turn: its requests leave through a sliding window, for about a second.

Requests begin in groups whose commit they share, and so are their answers stored. What has not
begun when the turn ends becomes pending again.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice

from dispatcher.errors import StoreError
from dispatcher.outbound.departure import NotBegun
from dispatcher.policy.concurrency import Observation
from dispatcher.policy.fair_queue import SHORT_WAIT_S, TURN_S
from dispatcher.policy.pacing import LEAD_S
from dispatcher.store.settlement import Settlement
from workers.batch.begin import begin_requests
from workers.batch.durable_write import write_durably
from workers.batch.prepared import PreparedBatch
from workers.batch.rates import batch_costs
from workers.batch.settle import BatchSettler, EndedRequest
from workers.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReport:
    """What a turn tells its account: messages that did not leave, and how the provider answers.

    `is_unbegun`: nothing has begun, and the batch is still held; its start is `wait_s` away.
    """

    unsent: int
    observation: Observation | None
    is_unbegun: bool
    wait_s: float


class Turn:
    """Submits a prepared batch with at most `slots` requests under way at a time."""

    def __init__(self, services: Services, batch: PreparedBatch, slots: int) -> None:
        self._services = services
        self._batch = batch
        self._slots = slots
        self._costs = batch_costs(batch)
        self._todo = deque(range(len(batch.requests)))
        self._attempt_ids: dict[int, int] = {}
        self._last_attempt_id = 0
        self._settler = BatchSettler(services, batch)
        self._flight = services.runtime.open_flight(timeout_s=batch.provider.settings.timeout_s)
        self._ends_at: float | None = None
        self._next_begin_at = 0.0
        self._begun = 0
        self._is_over = False
        self._was_full = False
        self._answer_times_s: list[float] = []
        self._wait_s = 0.0
        #: Before its first request the batch is still claimed, and has to be handed back.
        self._is_claimed = True

    def run(self) -> TurnReport:
        """Make the requests and store their answers. Raises StoreError where a begin failed."""
        try:
            return self._run()
        finally:
            self._flight.close()

    def _run(self) -> TurnReport:
        started_at = time.monotonic()
        failure: StoreError | None = None
        while True:
            try:
                self._begin_more()
            except StoreError as error:
                failure, self._is_over = error, True
            if self._flight.under_way:
                self._settle_some()
            elif self._is_over or not self._todo:
                break
            else:
                self._services.stopping.wait(max(0.0, self._next_begin_at - time.monotonic()))
        if failure is not None:
            self._hand_back_unsent()
            raise failure
        if self._begun:
            if not self._settler.is_closed:
                self._settler.settle_answers((), is_last=True)
            log.info(
                "batch %d: %s in %.2f s",
                self._batch.claim.id, self._settler, time.monotonic() - started_at,
            )  # fmt: skip
        return self._report()

    def _begin_more(self) -> None:
        """Begin requests for the free slots, unless the turn is over."""
        free = self._slots - self._flight.under_way
        now = time.monotonic()
        if self._ends_at is not None and now >= self._ends_at:
            self._is_over = True
        if self._services.stopping.is_set():
            self._is_over = True
        if not self._todo or self._is_over or now < self._next_begin_at:
            return
        if free <= 0:
            self._was_full = True
            return
        begun = begin_requests(
            self._services,
            self._batch,
            self._costs,
            list(islice(self._todo, free)),
            is_first=not self._begun,
        )
        if begun is None:
            self._is_over, self._is_claimed = True, False
            return
        if isinstance(begun, float):
            self._wait_for_start(begun)
            return
        if self._ends_at is None:
            self._ends_at = time.monotonic() + TURN_S
        self._services.rollback_guard.record_attempts(list(begun.attempt_ids.values()))
        if not self._begun:
            # Should this process die now, its log says that this batch's doubts are its own.
            log.info("batch %d, fence %d: requests leave", self._batch.claim.id,
                     self._batch.claim.fence)  # fmt: skip
        for _ in begun.requests:
            self._todo.popleft()
        self._begun += len(begun.requests)
        self._attempt_ids.update(begun.attempt_ids)
        self._last_attempt_id = max(begun.attempt_ids.values())
        self._flight.send(begun.requests)

    def _wait_for_start(self, wait_s: float) -> None:
        """Come back shortly before the next free start, or end where it is too far away."""
        self._next_begin_at = time.monotonic() + max(0.0, wait_s - LEAD_S)
        most = SHORT_WAIT_S if self._ends_at is None else self._ends_at - time.monotonic()
        if wait_s > most:
            self._wait_s, self._is_over = wait_s, True

    def _settle_some(self) -> None:
        """Store the answers that have come; wait for one, or until more may begin."""
        timeout_s = self._batch.provider.settings.timeout_s
        if self._todo and not self._is_over and self._flight.under_way < self._slots:
            timeout_s = max(0.0, self._next_begin_at - time.monotonic())
        landed = self._flight.collect(timeout_s=timeout_s)
        if not landed:
            return
        judged = []
        for number, answer, took_s in landed:
            request = self._batch.requests[number]
            ended = EndedRequest(self._attempt_ids.pop(number), request, answer)
            judged.append(self._settler.judge_answer(ended))
            if isinstance(answer, NotBegun):
                self._todo.appendleft(number)
            else:
                self._answer_times_s.append(took_s)
        if self._settler.must_stop:
            self._flight.stop()
            self._is_over = True
        is_last = not self._flight.under_way and (self._is_over or not self._todo)
        self._settler.settle_answers(judged, is_last=is_last)

    def _hand_back_unsent(self) -> None:
        """After a begin of which it is unknown whether it was stored; surely nothing of it left."""
        unsent = Settlement(
            claim=self._batch.claim, attempt_id=None, after_attempt_id=self._last_attempt_id
        )
        write_durably(self._services, unsent.apply_to, [unsent])

    def _report(self) -> TurnReport:
        requests = self._batch.requests
        return TurnReport(
            unsent=sum(len(requests[number].recipients) for number in self._todo),
            observation=self._observe() if self._begun else None,
            is_unbegun=self._is_claimed and not self._begun,
            wait_s=self._wait_s,
        )

    def _observe(self) -> Observation:
        """How the provider answered in this turn."""
        requests = self._batch.requests
        intervals = [self._costs.interval_s(number) for number in range(len(requests))]
        longest = max(intervals, default=0.0)
        return Observation(
            answer_times_s=self._answer_times_s,
            is_throttled=self._settler.is_throttled,
            was_full=self._was_full,
            requests_per_second=1 / longest if longest else None,
            is_single=all(len(request.recipients) == 1 for request in requests),
        )
