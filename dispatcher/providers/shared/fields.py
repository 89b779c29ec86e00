"""Reads the fields of a JSON answer: lists, ids, texts, prices and times. None means unusable."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from dispatcher.windows.zone_names import parse_zone

MAX_ID_LENGTH: Final = 128

_NO_ID: Final = re.compile(r"-[0-9]+|0+")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,20})?")


def read_entries(value: object) -> list[object] | None:
    """The entries of a list; None where `value` is not one.

    PHP turns a list with gaps into an object, and some servers leave out the list around a single
    entry: both are read as lists.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return None
    inner = list(value.values())
    return inner if all(isinstance(each, dict) for each in inner) else [value]


def read_id(value: object) -> str | None:
    """A provider's id as text: printable ASCII, at most 128 characters; else None.

    Zero and negative numbers are not ids: servers give them where they have none. A JSON number
    over 64 bits arrives as a float that has lost digits, so it is not an id either.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    usable = 0 < len(text) <= MAX_ID_LENGTH and text.isascii() and text.isprintable()
    return text if usable and not _NO_ID.fullmatch(text) else None


def read_ids(values: Sequence[object]) -> list[str | None]:
    """`read_id` of each value. Thousands of ids that have only digits are checked at once."""
    kinds = {*map(type, values)}
    texts = list(map(str, values))
    joined = "".join(texts)
    if (
        kinds in ({int}, {str})
        and joined.isascii()
        and joined.isdigit()
        and all(texts)
        and max(map(len, texts)) <= MAX_ID_LENGTH
        # The smallest text is all zeros if any is.
        and min(texts).strip("0")
    ):
        return [*texts]
    return [read_id(value) for value in values]


def read_amount(value: object) -> Decimal | None:
    """A price or a balance, from a JSON number or a string of digits; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value).strip()
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def read_text(entry: Mapping[str, Any], field: str) -> str:
    """The text or number in `field`, as text without outer spaces; empty for anything else."""
    value = entry.get(field)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def squeeze_word(text: str) -> str:
    """A status word in lower case without spaces, to be looked up: "Un Delivered", undelivered."""
    return "".join(text.casefold().split())


def read_time(text: str, zone: str | None = None) -> datetime | None:
    """An ISO 8601 time, in UTC; else None.

    `zone` (an IANA name or an offset) is the zone of a time without an offset; without a `zone`
    such a time is unusable.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=parse_zone(zone))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
