"""Allow-lists of staging accounts: the only numbers that such an account may text."""

from collections.abc import Sequence
from functools import cache

from dispatcher.errors import ConfigError
from dispatcher.numbers.masking import mask_number


def allowed_numbers(given: Sequence[str] | None, country: str | None) -> frozenset[int] | None:
    """The E.164 digits of the numbers in `allow_only`; None without a list: all are allowed.

    Numbers without country code are read as those of `country`. Raises ConfigError for one that
    cannot receive SMS.
    """
    return None if given is None else _read_list_of(tuple(given), country)


@cache
def _read_list_of(given: tuple[str, ...], country: str | None) -> frozenset[int]:
    # Imported here: most accounts have no list, and the library of numbers is slow to import.
    from dispatcher.numbers.msisdn import MsisdnError, NumberReader

    reader = NumberReader(country)
    found = set()
    for number in given:
        try:
            found.add(reader.read(number))
        except MsisdnError as error:
            raise ConfigError(
                f"`allow_only` has {mask_number(number)}: {error}",
                "write it with its country code, as in +919820011223",
            ) from None
    return frozenset(found)
