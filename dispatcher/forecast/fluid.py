"""How an account's capacity is shared at one instant (generalized processor sharing).

The highest priority goes first; campaigns of equal priority send equally many messages. What a
campaign cannot use because of its own rate goes to the others. Times are seconds since the start of
the simulation.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from math import inf
from typing import Final

from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload, PendingGroup
from dispatcher.windows.schedule import HORIZON, Schedule

#: Fewer messages than this are a rounding error of floating point.
NOTHING: Final = 1e-6


class WindowCursor:
    """The present or next open span of a schedule; `opens` and `closes` are inf if none follows."""

    def __init__(self, schedule: Schedule, now: datetime) -> None:
        self.schedule = schedule
        self._now = now
        self._spans = schedule.open_spans(now, now + HORIZON)
        self.opens, self.closes = self._next_span()

    def move_to(self, at: float) -> None:
        """Skip the spans that have closed by `at`."""
        while self.closes <= at:
            self.opens, self.closes = self._next_span()

    def _next_span(self) -> tuple[float, float]:
        start, end = next(self._spans, (None, None))
        if start is None or end is None:
            return inf, inf
        return (start - self._now).total_seconds(), (end - self._now).total_seconds()


class SimulatedGroup:
    """Pending messages of a campaign that share a schedule, while the simulation runs."""

    def __init__(
        self, pending: PendingGroup, window: WindowCursor, capacity: AccountCapacity
    ) -> None:
        self.left = float(pending.messages)
        self.window = window
        total = pending.messages
        self.seconds_each = capacity.seconds_for(1, pending.parts / total, pending.requests / total)


class SimulatedCampaign:
    """A campaign's pending messages, and those that may be sent at the selected instant."""

    def __init__(
        self, work: CampaignWorkload, groups: Iterable[SimulatedGroup], now: datetime
    ) -> None:
        self.groups = list(groups)
        self.priority = work.priority
        self.rate = work.messages_per_second or inf
        self.starts = (work.start_at - now).total_seconds() if work.start_at else 0.0
        self.expires = (work.expire_at - now).total_seconds() if work.expire_at else inf
        self.open_groups: list[SimulatedGroup] = []
        self.open_left = 0.0
        self.seconds_each = 0.0

    @property
    def left(self) -> float:
        """The number of pending messages."""
        return sum(group.left for group in self.groups)

    def select_open(self, at: float) -> bool:
        """Select the groups that may be sent at `at`; returns whether there are any."""
        self.open_groups = []
        if self.starts <= at < self.expires:
            self.open_groups = [
                group for group in self.groups if group.left and group.window.opens <= at
            ]
        self.open_left = sum(group.left for group in self.open_groups)
        if self.open_groups:
            cost = sum(group.left * group.seconds_each for group in self.open_groups)
            self.seconds_each = cost / self.open_left
        return bool(self.open_groups)

    def take_messages(self, messages: float) -> None:
        """Send so many messages, evenly from all open groups: their batches are mixed."""
        kept = max(0.0, 1 - messages / self.open_left)
        for group in self.open_groups:
            group.left = group.left * kept if self.open_left * kept > NOTHING else 0.0

    def next_changes(self, at: float) -> Iterator[float]:
        """When the next groups open or close, or the campaign starts or expires."""
        if self.starts > at:
            yield self.starts
            return
        yield self.expires
        for group in self.groups:
            if group.left:
                yield group.window.opens if group.window.opens > at else group.window.closes


def service_rates(able: Iterable[SimulatedCampaign]) -> Iterator[tuple[SimulatedCampaign, float]]:
    """Each campaign's messages per second; `able` are those that can send now, by priority."""
    free = 1.0  # the free part of the account's capacity
    for _priority, equals in groupby(able, key=lambda campaign: campaign.priority):
        for campaign, rate in _share_equally(list(equals), free):
            yield campaign, rate
            free -= rate * campaign.seconds_each
        if free <= 1e-9:
            return


def _share_equally(
    equals: list[SimulatedCampaign], free: float
) -> Iterator[tuple[SimulatedCampaign, float]]:
    """Give all campaigns equal messages per second, but none more than its own rate."""
    while equals:
        share = free / sum(campaign.seconds_each for campaign in equals)
        slow = [campaign for campaign in equals if campaign.rate <= share]
        for campaign in slow or equals:
            rate = min(campaign.rate, share)
            free -= rate * campaign.seconds_each
            yield campaign, rate
        equals = [campaign for campaign in equals if campaign not in slow] if slow else []
