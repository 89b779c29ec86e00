"""What is pending of campaigns and what an account allows, as plain values for the forecast."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from dispatcher.windows.schedule import ALWAYS, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingGroup:
    """Messages of one campaign that share a schedule, with the parts and requests they take."""

    messages: int
    parts: int
    requests: int
    schedule: Schedule = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignWorkload:
    """What is pending of one campaign; its recipients' zones are an element of `pending` each."""

    pending: tuple[PendingGroup, ...]
    priority: int = 0
    #: The campaign's own rate.
    messages_per_second: float | None = None
    start_at: datetime | None = None
    expire_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCapacity:
    """What an account allows, and `throughput`: the messages per second that it manages.

    `throughput`, observed or assumed, is a limit like the others; None leaves it out. At least one
    of the four is needed (ValueError). `used_today` counts messages of the account's day.
    """

    messages_per_second: float | None = None
    parts_per_second: float | None = None
    requests_per_second: float | None = None
    throughput: float | None = None
    daily_limit: int | None = None
    used_today: int = 0
    day_zone: tzinfo = UTC

    def __post_init__(self) -> None:
        if not self.seconds_for(1, 1, 1):
            raise ValueError("a forecast needs a rate or a throughput")

    def seconds_for(self, messages: float, parts: float, requests: float) -> float:
        """For how long a request holds the account: by the dearest of the rates it pays."""
        costs = (
            (messages, self.messages_per_second),
            (parts, self.parts_per_second),
            (requests, self.requests_per_second),
            (messages, self.throughput),
        )
        return max((cost / rate for cost, rate in costs if rate is not None), default=0.0)
