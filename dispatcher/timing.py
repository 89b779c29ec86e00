"""When and how fast a campaign may leave, as a person asked for it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dispatcher.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Start, expiry, own rate (messages per second), priority; `one_off` goes before any bulk."""

    start_at: datetime | None = None
    expire_at: datetime | None = None
    rate: float | None = None
    priority: int = 0
    one_off: bool = False

    def check(self, now: datetime) -> None:
        """Raises Refused where nothing could ever leave."""
        if self.expire_at is None:
            return
        if self.expire_at <= now:
            raise Refused("--expire-at lies in the past", "give a later time")
        if self.start_at is not None and self.expire_at <= self.start_at:
            raise Refused("--expire-at is not after --start-at", "nothing would ever leave")

    def columns(self) -> dict[str, Any]:
        """The values of the campaign's columns."""
        return {
            "start_at": self.start_at,
            "expire_at": self.expire_at,
            "rate": self.rate,
            "priority": self.priority,
            "one_off": self.one_off,
        }
