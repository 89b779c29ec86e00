"""The settlement of one attempt: what to store of its answer. It can wait on disk (`spill.py`).

`answers.py` stores judged answers; `batch_endings.py` takes back what was not sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.errors import StoreBusyError, StoreDataError
from dispatcher.policy.verdict import Verdict
from dispatcher.store import answers, batch_endings
from dispatcher.store.answers import JudgedAnswer, PollPlan
from dispatcher.store.batches import Claim
from dispatcher.store.locks import lock_account, lock_campaign


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSchedule:
    """When an accepted request is polled first and last, in seconds from its settlement."""

    first_s: float
    for_s: float

    def plan_from(self, now: datetime) -> PollPlan:
        """The same as times."""
        return PollPlan(
            first_at=now + timedelta(seconds=self.first_s),
            until=now + timedelta(seconds=self.for_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is to be stored of one attempt. The spill's files have these names as keys.

    Without a verdict the request was not sent, and the attempt is taken back. `attempt_id` is None
    where a group of attempts was not sent and their ids are not known: then those of the claim
    that came after `after_attempt_id` are taken back.
    """

    claim: Claim
    attempt_id: int | None
    verdict: Verdict | None = None
    polling: PollSchedule | None = None
    #: No connection was made: surely nothing was sent, but the request counts as tried.
    never_left: bool = False
    #: Without `attempt_id`: only attempts with a higher id are taken back.
    after_attempt_id: int = 0

    def apply_to(self, conn: Connection, now: datetime) -> None:
        """Store it. A second time changes nothing.

        Raises StoreDataError where the batch was claimed in another store: the store's file was
        replaced, or the store was adopted, since.
        """
        refuse_other_store(conn, self.claim)
        if self.may_return:
            self.lock_for_return(conn)
        if self.attempt_id is None:
            batch_endings.hand_back_unsent(conn, self.claim, self.after_attempt_id, now)
        elif self.verdict is None:
            batch_endings.take_back_unsent(conn, self.claim, [self.attempt_id], now)
        else:
            done = answers.settle_answer(
                conn, self.claim, self.attempt_id, self.verdict, poll=self._plan(now), now=now
            )
            if self.never_left and not done.owned:
                batch_endings.reverse_doubt(conn, self.claim, self.attempt_id, now)

    def lock_for_return(self, conn: Connection) -> None:
        """Lock, before the batch, the rows that change when its messages become pending again."""
        lock_account(conn, self.claim.account)
        lock_campaign(conn, self.claim.campaign_id)

    @property
    def may_return(self) -> bool:
        """Whether messages may become pending again."""
        return self.verdict is None or self.never_left

    def to_judged_answer(self, now: datetime) -> JudgedAnswer | None:
        """The judged answer; None where the request was not sent."""
        if self.attempt_id is None or self.verdict is None:
            return None
        return JudgedAnswer(self.attempt_id, self.verdict, self._plan(now))

    def _plan(self, now: datetime) -> PollPlan | None:
        return self.polling.plan_from(now) if self.polling is not None else None


def refuse_other_store(conn: Connection, claim: Claim) -> None:
    """Raise StoreDataError where a batch was claimed in another store."""
    if not batch_endings.is_of_this_store(conn, claim):
        raise StoreDataError("the answer is for another store than the one at this place")


def apply_settlements(conn: Connection, settlements: Sequence[Settlement], now: datetime) -> None:
    """Store the settlements of requests of one batch, in few statements while its lease holds."""
    if not settlements:
        return
    claim = settlements[0].claim
    refuse_other_store(conn, claim)
    if any(each.may_return for each in settlements):
        settlements[0].lock_for_return(conn)
    judged = [one for each in settlements if (one := each.to_judged_answer(now)) is not None]
    if len(judged) > 1 and batch_endings.is_owned(conn, claim):
        if answers.settle_in_time(conn, claim, judged, now) is None:
            raise StoreBusyError("the lease ran out while the answers were stored")
        settlements = [each for each in settlements if each.verdict is None]
    unsent = []
    for each in settlements:
        if each.verdict is None and each.attempt_id is not None:
            unsent.append(each.attempt_id)
        else:
            each.apply_to(conn, now)
    if unsent:
        batch_endings.take_back_unsent(conn, claim, unsent, now)
