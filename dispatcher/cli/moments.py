"""Reads the moments of options such as `--start-at`, in the account's zone."""

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from dispatcher.providers.shared.settings import ProviderSettings
    from dispatcher.windows.moments import Moment


class MomentReader:
    """Reads moments against one clock; local ones are in `zone`. `notes`: what was not plain."""

    def __init__(self, zone: tzinfo, now: datetime, *, knows_zone: bool) -> None:
        """`knows_zone`: somebody named the zone, or it is that of the account's country."""
        self.zone = zone
        self._now = now
        self._knows_zone = knows_zone
        self.notes: list[str] = []
        #: Whether one depends on when it was said.
        self.has_spoken = False

    def read_time(self, option: str, text: str) -> datetime:
        """A moment with a time of day, in UTC. Raises WrongValue."""
        moment = self._read(option, text)
        if moment.is_whole_day:
            raise WrongValue(
                f"{option} {text!r} has no time of day", "write it too, as in `2026-12-24 18:00`"
            )
        return moment.at

    def read_start(self, option: str, text: str, *, has_windows: bool) -> datetime:
        """A moment in UTC; a day without a time of day is where it begins, if windows say more.

        Raises WrongValue.
        """
        if not has_windows:
            return self.read_time(option, text)
        moment = self._read(option, text)
        if moment.is_whole_day:
            day = moment.at.astimezone(moment.zone)
            self.notes.append(
                f"{option} has no time of day: the first messages leave when the windows open, on "
                f"{day:%a %Y-%m-%d} or later"
            )
        return moment.at

    def _read(self, option: str, text: str) -> "Moment":
        from dispatcher.windows.moments import MomentError, parse_moment

        try:
            moment = parse_moment(text, self.zone, self._now)
        except MomentError as error:
            raise WrongValue(
                f"{option} {text!r} is not a valid time: {error.problem}", error.advice
            ) from None
        is_reading = moment.is_spoken and not text.strip().lower().startswith(("+", "in "))
        if is_reading and not self._knows_zone and moment.zone is self.zone:
            raise WrongValue(
                f"{option} {text!r} needs a time zone: the account has no `timezone`, and no "
                "`country` with just one",
                f"write `{text.strip()} Europe/Berlin`, or set the account's `timezone`",
            )
        if moment.note is not None:
            self.notes.append(f"{option}: {moment.note}")
        self.has_spoken |= moment.is_spoken
        return moment


def moment_reader(settings: "ProviderSettings", named: tzinfo | None) -> MomentReader:
    """A reader of moments in the zone that a person named, else in that of the account."""
    from zoneinfo import ZoneInfo

    zone = named or ZoneInfo(settings.timezone)
    is_known = named is not None or settings.knows_timezone
    return MomentReader(zone, datetime.now(UTC), knows_zone=is_known)
