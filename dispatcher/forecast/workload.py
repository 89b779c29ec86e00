"""The input of a forecast: the pending messages of campaigns, and the capacity of an account."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from dispatcher.windows.schedule import ALWAYS, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingGroup:
    """Pending messages of a campaign that share a schedule, with their parts and requests."""

    messages: int
    parts: int
    requests: int
    schedule: Schedule = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignWorkload:
    """The pending messages of one campaign: a group for each zone of its recipients."""

    pending: tuple[PendingGroup, ...]
    priority: int = 0
    #: The campaign's own rate; None if it has none.
    messages_per_second: float | None = None
    start_at: datetime | None = None
    expire_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCapacity:
    """The rates and the daily limit of an account.

    `throughput` is an observed or assumed rate in messages per second. Raises ValueError unless at
    least one of the four rates is given. `used_today` counts messages of the account's local day.
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
        """How long a request occupies the account, in seconds, by the slowest of its rates."""
        costs = (
            (messages, self.messages_per_second),
            (parts, self.parts_per_second),
            (requests, self.requests_per_second),
            (messages, self.throughput),
        )
        return max((cost / rate for cost, rate in costs if rate is not None), default=0.0)
