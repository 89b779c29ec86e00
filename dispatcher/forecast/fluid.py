"""Who is served how fast at an instant: the scheduler's rules as a fluid. It knows no passing time.

The highest priority first, equal shares by messages among equals; what a campaign cannot take, by
its own rate, the others have. Times are seconds since a common start.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from math import inf
from typing import Final

from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload, PendingGroup
from dispatcher.windows.schedule import HORIZON, Schedule

#: Messages: what floating point may leave of work that is done.
NOTHING: Final = 1e-6


class WindowCursor:
    """A schedule as time passes: its present stretch, or the next one; inf where none follows."""

    def __init__(self, schedule: Schedule, now: datetime) -> None:
        self.schedule = schedule
        self._now = now
        self._stretches = schedule.open_spans(now, now + HORIZON)
        self.opens, self.closes = self._next_span()

    def move_to(self, at: float) -> None:
        """Leave behind what has closed by `at`."""
        while self.closes <= at:
            self.opens, self.closes = self._next_span()

    def _next_span(self) -> tuple[float, float]:
        start, end = next(self._stretches, (None, None))
        if start is None or end is None:
            return inf, inf
        return (start - self._now).total_seconds(), (end - self._now).total_seconds()


class SimulatedGroup:
    """Messages of a campaign behind one door."""

    def __init__(self, pending: PendingGroup, door: WindowCursor, pace: AccountCapacity) -> None:
        self.left = float(pending.messages)
        self.window = door
        total = pending.messages
        self.seconds_each = pace.seconds_for(1, pending.parts / total, pending.requests / total)


class SimulatedCampaign:
    """A campaign's pending messages, and which of them may be sent at the instant looked at."""

    def __init__(
        self, work: CampaignWorkload, lanes: Iterable[SimulatedGroup], now: datetime
    ) -> None:
        self.groups = list(lanes)
        self.priority = work.priority
        self.rate = work.messages_per_second or inf
        self.starts = (work.start_at - now).total_seconds() if work.start_at else 0.0
        self.expires = (work.expire_at - now).total_seconds() if work.expire_at else inf
        self.open_groups: list[SimulatedGroup] = []
        self.open_left = 0.0
        self.seconds_each = 0.0

    @property
    def left(self) -> float:
        """Messages pending."""
        return sum(lane.left for lane in self.groups)

    def select_open(self, at: float) -> bool:
        """See which lanes may be sent at `at`; whether there is any."""
        self.open_groups = []
        if self.starts <= at < self.expires:
            self.open_groups = [
                lane for lane in self.groups if lane.left and lane.window.opens <= at
            ]
        self.open_left = sum(lane.left for lane in self.open_groups)
        if self.open_groups:
            cost = sum(lane.left * lane.seconds_each for lane in self.open_groups)
            self.seconds_each = cost / self.open_left
        return bool(self.open_groups)

    def take_messages(self, messages: float) -> None:
        """Take messages of all open lanes evenly, as their batches stand mixed in its order."""
        kept = max(0.0, 1 - messages / self.open_left)
        for lane in self.open_groups:
            lane.left = lane.left * kept if self.open_left * kept > NOTHING else 0.0

    def next_changes(self, at: float) -> Iterator[float]:
        """When what may be sent changes by itself."""
        if self.starts > at:
            yield self.starts
            return
        yield self.expires
        for lane in self.groups:
            if lane.left:
                yield lane.window.opens if lane.window.opens > at else lane.window.closes


def service_rates(able: Iterable[SimulatedCampaign]) -> Iterator[tuple[SimulatedCampaign, float]]:
    """Messages per second of the campaigns that can be served now, highest priority first."""
    free = 1.0  # of every second of the account
    for _priority, equals in groupby(able, key=lambda campaign: campaign.priority):
        for campaign, rate in _share_equally(list(equals), free):
            yield campaign, rate
            free -= rate * campaign.seconds_each
        if free <= 1e-9:
            return


def _share_equally(
    equals: list[SimulatedCampaign], free: float
) -> Iterator[tuple[SimulatedCampaign, float]]:
    """Equal messages per second for all, but for those whose own rate is less."""
    while equals:
        share = free / sum(campaign.seconds_each for campaign in equals)
        slow = [campaign for campaign in equals if campaign.rate <= share]
        for campaign in slow or equals:
            rate = min(campaign.rate, share)
            free -= rate * campaign.seconds_each
            yield campaign, rate
        equals = [campaign for campaign in equals if campaign not in slow] if slow else []
