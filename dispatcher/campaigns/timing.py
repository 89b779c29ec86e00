"""When and how fast a campaign may leave, as a person asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

import orjson

from dispatcher.errors import Refused
from dispatcher.windows.schedule import Schedule

#: A start further back was not missed, it was mistyped: at once is not what was meant.
_SLIP: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Start, expiry, own rate (messages per second), priority, windows.

    `one_off` goes before any bulk. `zone` is the windows', or each recipient's where
    `in_recipients_zone`; then it is that of recipients whose zone nobody knows.
    """

    start_at: datetime | None = None
    expire_at: datetime | None = None
    rate: float | None = None
    priority: int = 0
    one_off: bool = False
    windows: Sequence[str] = ()
    blackouts: Sequence[str] = ()
    zone: tzinfo = UTC
    in_recipients_zone: bool = False

    @property
    def schedule(self) -> str | None:
        """The campaign's own windows as they are stored; None where it has none.

        Raises WindowError for what is no window.
        """
        if not self.windows and not self.blackouts:
            return None
        own = Schedule.parse(self.windows, self.blackouts, self.zone)
        return orjson.dumps(own.to_json()).decode()

    def check(self, now: datetime) -> None:
        """Raises Refused where nothing could ever leave."""
        if self.expire_at is None:
            return
        if self.expire_at <= now:
            raise Refused(
                f"--expire-at lies in the past: {self.expire_at:%Y-%m-%d %H:%M} UTC",
                "give a later time",
            )
        if self.start_at is not None and self.expire_at <= self.start_at:
            raise Refused("--expire-at is not after --start-at", "nothing would ever leave")

    def stored_columns(self) -> dict[str, Any]:
        """The values of the campaign's columns."""
        return {
            "start_at": self.start_at,
            "expire_at": self.expire_at,
            "rate": self.rate,
            "priority": self.priority,
            "one_off": self.one_off,
            "schedule": self.schedule,
        }


def check_start(start_at: datetime | None, now: datetime) -> None:
    """Raises Refused for a start, as somebody gives it now, that must be a slip."""
    if start_at is not None and now - start_at > _SLIP:
        raise Refused(
            f"--start-at lies in the past: {start_at:%Y-%m-%d %H:%M} UTC",
            "give a later time, or leave it out to start at once",
        )
