"""What a turn does differently for a batch and for a bundle of them: begin, settle, end."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from dispatcher.logs.events import LogEvent, log_event
from dispatcher.store import campaigns
from dispatcher.store.batches import Claim
from workers.batch.begin import BegunGroup, Stagger, begin_requests
from workers.batch.begin_bundle import BundleBegin
from workers.batch.bundle import BundleSettler, is_plain
from workers.batch.prepared import PreparedBatch, PreparedBundle
from workers.batch.rates import BatchCosts, batch_costs, join_costs
from workers.batch.settle import BatchSettler, JudgedRequest
from workers.services import Services

log = logging.getLogger(__name__)


class Steps(Protocol):
    """The steps of a turn."""

    @property
    def settler(self) -> BatchSettler | BundleSettler:
        """It judges and stores answers."""

    @property
    def costs(self) -> BatchCosts:
        """What the requests pay."""

    @property
    def open_claims(self) -> list[Claim]:
        """The claims of batches that were neither closed nor refused."""

    @property
    def has_work(self) -> bool:
        """Whether there is something to store although no further answer has come."""

    def begin_requests(
        self,
        numbers: Sequence[int],
        judged: Sequence[JudgedRequest],
        *,
        is_first: bool,
        may_stagger: bool,
    ) -> BegunGroup | Stagger | float | None:
        """Begin requests, and store answers in the same transaction: see `begin.py`."""

    def must_settle_first(self, judged: Sequence[JudgedRequest]) -> bool:
        """Whether answers need a transaction of their own."""

    def may_begin(self, number: int) -> bool:
        """Whether nothing forbids that a request begins later."""

    def is_alone(self, conn: Connection) -> bool:
        """Whether no other campaign waits for the slots."""

    def log_end(self, took_s: float) -> None:
        """Log what came of the turn."""


class BatchSteps:
    """The steps for one batch."""

    def __init__(self, services: Services, batch: PreparedBatch) -> None:
        self._services = services
        self._batch = batch
        self.costs = batch_costs(batch)
        self.settler = BatchSettler(services, batch)
        self.open_claims = [batch.claim]
        self.has_work = False

    def begin_requests(
        self,
        numbers: Sequence[int],
        judged: Sequence[JudgedRequest],
        *,
        is_first: bool,
        may_stagger: bool,
    ) -> BegunGroup | Stagger | float | None:
        """Begin requests of the batch."""

        def settle(conn: Connection, now: datetime) -> None:
            if judged:
                self.settler.settle_in(conn, judged, now)

        begun = begin_requests(
            self._services,
            self._batch,
            self.costs,
            numbers,
            is_first=is_first,
            may_stagger=may_stagger,
            settle=settle,
        )
        if begun is None:
            self.open_claims = []
        return begun

    def must_settle_first(self, judged: Sequence[JudgedRequest]) -> bool:
        """Where messages become pending again, which takes other locks than a begin."""
        return any(each.settlement.may_return for each in judged)

    def may_begin(self, _number: int) -> bool:
        """The begin itself says when nothing of the batch may begin any more."""
        return True

    def is_alone(self, conn: Connection) -> bool:
        """Whether the batch's campaign has its account for itself."""
        claim = self._batch.claim
        return campaigns.runs_alone(conn, claim.account, claim.campaign_id)

    def log_end(self, took_s: float) -> None:
        """Log what came of the batch."""
        claim = self._batch.claim
        words = f"batch {claim.id}: {self.settler} in {took_s:.2f} s"
        log_event(log, LogEvent.BATCH_SETTLED, words, **claim.log_fields)


class BundleSteps:
    """The steps for a bundle."""

    def __init__(self, services: Services, bundle: PreparedBundle) -> None:
        self.costs = join_costs(bundle.batches)
        self.settler = BundleSettler(services, bundle)
        self._begin = BundleBegin(
            services=services, bundle=bundle, costs=self.costs, settler=self.settler
        )

    @property
    def open_claims(self) -> list[Claim]:
        """The claims of batches that are not closed yet."""
        return self.settler.open_claims

    @property
    def has_work(self) -> bool:
        """Whether a batch is finished, or an answer has to be stored by itself."""
        return self.settler.has_work

    def begin_requests(
        self,
        numbers: Sequence[int],
        judged: Sequence[JudgedRequest],
        *,
        is_first: bool,
        may_stagger: bool,  # noqa: ARG002 - its batches are of different campaigns
    ) -> BegunGroup | float | None:
        """Begin requests of several batches."""
        return self._begin.begin_requests(numbers, judged, is_first=is_first)

    def must_settle_first(self, judged: Sequence[JudgedRequest]) -> bool:
        """Where an answer is not plain."""
        return not all(map(is_plain, judged))

    def may_begin(self, number: int) -> bool:
        """Whether the request's batch was not refused."""
        return self.settler.may_begin(number)

    def is_alone(self, _conn: Connection) -> bool:
        """It has several campaigns, and is over soon."""
        return False

    def log_end(self, _took_s: float) -> None:
        """Each batch was logged when it was closed."""


def open_steps(services: Services, batch: PreparedBatch | PreparedBundle) -> Steps:
    """The steps of a turn for a batch, or a bundle."""
    if isinstance(batch, PreparedBundle):
        return BundleSteps(services, batch)
    return BatchSteps(services, batch)
