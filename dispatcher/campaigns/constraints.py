"""What decides when a campaign may be sent, before it is stored as a row."""

from dataclasses import dataclass
from datetime import datetime

from dispatcher.status import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignConstraints:
    """What decides when a campaign may be sent; the same fields as its stored row has."""

    kind: Kind
    schedule: str | None
    start_at: datetime | None
    expire_at: datetime | None
    schedule_at: datetime | None = None
    rate: float | None = None
    priority: int = 0
    one_off: bool = False
