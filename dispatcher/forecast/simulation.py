"""Simulates when a campaign finishes, from sizes, rates, windows and the account's other campaigns.

Steps from one event to the next (a window's edge, a campaign's end, a midnight), not by message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import inf
from typing import Final

from dispatcher.forecast.fluid import (
    NOTHING,
    SimulatedCampaign,
    SimulatedGroup,
    WindowCursor,
    service_rates,
)
from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload
from dispatcher.windows.schedule import HORIZON, Schedule
from dispatcher.windows.wall_clock import first_instant

#: The shortest step: far above the rounding error of a time within HORIZON.
_STEP_S: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a campaign will be submitted.

    `finish_at`: when its last message is submitted or lapses; None if that cannot be foreseen.
    `first_at`: when its first message is submitted; None if none is. `waits`: why not sooner; None
    if it starts now. `lapsed`: messages still pending at the expiry. `reason`: a sentence why not
    all messages are submitted; None if they are.
    """

    finish_at: datetime | None
    first_at: datetime | None
    lapsed: int
    reason: str | None
    waits: str | None = None


def simulate_campaign(
    work: CampaignWorkload,
    others: Sequence[CampaignWorkload],
    capacity: AccountCapacity,
    now: datetime,
) -> Forecast:
    """Forecast `work` beside the other campaigns of its account, up to HORIZON ahead.

    `others` are the account's running and scheduled campaigns without `work`. Raises ValueError if
    `now` has no time zone.
    """
    if now.utcoffset() is None:
        raise ValueError("a forecast needs a time with a time zone")
    simulation = _Simulation(work, others, capacity, now.astimezone(UTC))
    simulation.run()
    return simulation.result()


class _Simulation:
    def __init__(
        self,
        work: CampaignWorkload,
        others: Sequence[CampaignWorkload],
        capacity: AccountCapacity,
        now: datetime,
    ) -> None:
        self._now, self._capacity, self._work = now, capacity, work
        self._windows: dict[Schedule, WindowCursor] = {}
        self._own = self._add_campaign(work)
        campaigns = [self._own, *map(self._add_campaign, others)]
        self._campaigns = sorted(campaigns, key=lambda campaign: -campaign.priority)
        self._at = 0.0
        self._first: float | None = None
        self._waits: str | None = None
        self._day = now.astimezone(capacity.day_zone).date()
        self._day_ends = inf
        self._allowed = inf
        if capacity.daily_limit is not None:
            self._allowed = float(max(0, capacity.daily_limit - capacity.used_today))
            self._day_ends = self._end_of_day()

    def _add_campaign(self, work: CampaignWorkload) -> SimulatedCampaign:
        groups = []
        for pending in work.pending:
            if pending.messages:
                window = self._windows.get(pending.schedule)
                if window is None:
                    window = self._windows[pending.schedule] = WindowCursor(
                        pending.schedule, self._now
                    )
                groups.append(SimulatedGroup(pending, window, self._capacity))
        return SimulatedCampaign(work, groups, self._now)

    def run(self) -> None:
        """Step from event to event until the campaign is done or HORIZON is reached."""
        horizon = HORIZON.total_seconds()
        while self._own.left and self._at < min(horizon, self._own.expires):
            rates = self._current_rates()
            if self._first is None and all(campaign is not self._own for campaign, _ in rates):
                self._waits = self._waits_for()
            until = min(self._next_change(rates), horizon)
            self._serve_until(rates, until - self._at)
            self._at = until
            if until == horizon:
                return
            for window in self._windows.values():
                window.move_to(until)
            if until >= self._day_ends:
                self._day += timedelta(days=1)
                self._day_ends = self._end_of_day()
                self._allowed = float(self._capacity.daily_limit or 0)

    def _current_rates(self) -> list[tuple[SimulatedCampaign, float]]:
        """The campaigns that send now, with their messages per second."""
        if not self._allowed:
            return []
        return list(service_rates([each for each in self._campaigns if each.select_open(self._at)]))

    def _waits_for(self) -> str:
        if self._at < self._own.starts:
            return "it waits for its start"
        if not self._own.select_open(self._at):
            return "the windows are closed"
        if not self._allowed:
            return "the day's limit is used up"
        return "campaigns of higher priority go first"

    def _next_change(self, rates: Sequence[tuple[SimulatedCampaign, float]]) -> float:
        changes = [self._day_ends]
        for campaign in self._campaigns:
            if campaign.left:
                changes += campaign.next_changes(self._at)
        ends = [campaign.open_left / rate for campaign, rate in rates]
        if rates:
            ends.append(self._allowed / sum(rate for _campaign, rate in rates))
        changes += [self._at + max(_STEP_S, seconds) for seconds in ends]
        return min(change for change in changes if change > self._at)

    def _serve_until(
        self, rates: Sequence[tuple[SimulatedCampaign, float]], seconds: float
    ) -> None:
        for campaign, rate in rates:
            if campaign is self._own and self._first is None:
                self._first = self._at
            campaign.take_messages(rate * seconds)
            self._allowed -= rate * seconds
        if self._allowed < NOTHING:
            self._allowed = 0.0

    def _end_of_day(self) -> float:
        midnight = datetime.combine(self._day + timedelta(days=1), time())
        return first_instant(midnight, self._capacity.day_zone) - self._now.timestamp()

    def result(self) -> Forecast:
        """The forecast after `run`."""
        left = round(self._own.left)
        first = None if self._first is None else self._as_datetime(self._first)
        lapsed, reason, finish = 0, None, None
        if not left:
            finish = self._as_datetime(self._at)
        elif self._at < self._own.expires:
            reason = self._why_endless(left)
        else:
            lapsed, reason = left, self._why_lapsed(left)
            finish = None if first is None else self._as_datetime(self._own.expires)
        waits = None if first is None else self._waits
        return Forecast(finish_at=finish, first_at=first, lapsed=lapsed, reason=reason, waits=waits)

    def _why_lapsed(self, left: int) -> str:
        if self._first is not None:
            return f"the campaign expires before {_count_messages(left)} can be sent"
        if self._own.expires <= 0:
            return "the campaign has already expired"
        if self._ever_opens():
            return "the campaign expires before any of its messages can be sent"
        return "the windows do not open before the campaign expires"

    def _why_endless(self, left: int) -> str:
        end, years = self._now + HORIZON, HORIZON.days // 365
        never = [group for group in self._own.groups if not group.window.schedule.next_open(end)]
        if round(sum(group.left for group in never)) == left:
            return f"the windows do not open again within {years} years for {_count_messages(left)}"
        if (opening := self._first_opening()) is not None and opening >= end:
            day = opening.astimezone(self._capacity.day_zone)
            return f"nothing leaves before {day:%Y-%m-%d}, and a forecast reaches {years} years"
        return f"{_count_messages(left)} would still be pending after {years} years"

    def _first_opening(self) -> datetime | None:
        """When the first of its messages may leave, by its start and the windows."""
        start = max(self._now, self._work.start_at or self._now)
        openings = [each.schedule.next_open(start) for each in self._work.pending]
        return min((opening for opening in openings if opening is not None), default=None)

    def _ever_opens(self) -> bool:
        start = max(self._now, self._work.start_at or self._now)
        return any(
            each.schedule.next_open(start, self._work.expire_at) for each in self._work.pending
        )

    def _as_datetime(self, seconds: float) -> datetime:
        return self._now + timedelta(seconds=seconds)


def _count_messages(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"
