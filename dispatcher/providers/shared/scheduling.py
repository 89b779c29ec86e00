"""Times for scheduling at the provider: to the minute, in the account's time zone."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

from dispatcher.errors import TimeRefused
from dispatcher.windows.zone_guesses import guess_zones
from dispatcher.windows.zone_names import ZoneError, parse_zone, zone_name

#: `Y-m-d H:i` and `YYYY-MM-DD HH:MM` of the providers' documents.
_FORMAT: Final = "%Y-%m-%d %H:%M"


def _check_zone(text: str) -> str:
    try:
        return zone_name(parse_zone(text))
    except ZoneError:
        near = guess_zones(text)
        guess = "" if near is None else f"; did you mean {near}?"
        raise ValueError(f"must be a time zone such as Asia/Kolkata or +05:30{guess}") from None


#: A time zone as `parse_zone` reads it: an IANA name, or an offset.
ZoneName = Annotated[str, AfterValidator(_check_zone)]


def local_minute(at: datetime, zone: str | None) -> str:
    """The aware time `at` as `2026-12-20 07:00` in `zone`; seconds are rounded up, never down.

    Raises Refused where `zone` is None, or where the zone's clocks show that minute twice.
    """
    if zone is None:
        raise TimeRefused(
            "the provider reads the time of a scheduled campaign in the account's time zone, "
            "which is not configured",
            "set `schedule_timezone` under the account to the zone that is set at the provider",
        )
    whole = at.replace(second=0, microsecond=0)
    local = (whole if whole == at else whole + timedelta(minutes=1)).astimezone(parse_zone(zone))
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        raise TimeRefused(
            f"the clocks of {zone} are set back then: {local.strftime(_FORMAT)} comes twice",
            "choose a time before or after that hour",
        )
    return local.strftime(_FORMAT)
