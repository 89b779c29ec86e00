"""When and how fast a campaign may be sent, as a person asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

import orjson

from dispatcher.errors import TimeRefused
from dispatcher.windows.schedule import Schedule
from dispatcher.windows.zone_names import zone_name

#: A start further in the past than this is a typing mistake; it does not mean "now".
_SLIP: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Start, expiry, own rate (messages per second), priority and windows of a campaign.

    A `one_off` campaign goes before bulk ones. `zone` is the time zone of the windows. With
    `in_recipients_zone` each recipient has its own, and `zone` is for those without a known one.
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
    #: What a person may have meant otherwise, such as a time that clocks skip.
    notes: Sequence[str] = ()

    @property
    def schedule(self) -> str | None:
        """The campaign's own windows as they are stored; None if it has none.

        Raises WindowError for a window that is not valid.
        """
        if not self.windows and not self.blackouts:
            return None
        own = Schedule.parse(self.windows, self.blackouts, self.zone)
        return orjson.dumps(own.to_json()).decode()

    def check(self, now: datetime) -> None:
        """Raises Refused if the campaign would expire before it could be sent."""
        if self.expire_at is None:
            return
        if self.expire_at <= now:
            raise TimeRefused(
                f"--expire-at is in the past: {_show(self.expire_at, self.zone)}",
                "give a later time",
            )
        if self.start_at is not None and self.expire_at <= self.start_at:
            raise TimeRefused("--expire-at is not after --start-at", "give a later --expire-at")

    def stored_columns(self) -> dict[str, Any]:
        """Values for the columns of the campaign's row."""
        return {
            "start_at": self.start_at,
            "expire_at": self.expire_at,
            "rate": self.rate,
            "priority": self.priority,
            "one_off": self.one_off,
            "schedule": self.schedule,
        }


def check_start(start_at: datetime | None, now: datetime, zone: tzinfo) -> None:
    """Raises Refused for a start so far in the past that it must be a typing mistake."""
    if start_at is not None and now - start_at > _SLIP:
        raise TimeRefused(
            f"--start-at is in the past: {_show(start_at, zone)}",
            "give a later time, or leave it out to start now",
        )


def _show(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M} {zone_name(zone)}"
