"""The account with an allow-list: whom it may text, and whether it texted nobody else.

Campaigns come to it with numbers that it may not text: in their files, and as the fallback account
of a campaign of which it may text nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

ACCOUNT: Final = "staging"
PROVIDER: Final = "ultimate_sms"
FIRST_NUMBER: Final = 919_830_000_000
_NUMBERS: Final = 4000
#: Every second number.
ALLOW_ONLY: Final = [f"+{number}" for number in range(FIRST_NUMBER, FIRST_NUMBER + _NUMBERS, 2)]
_ALLOWED: Final = frozenset(map(int, ALLOW_ONLY))


def texted_others(
    messages: Iterable[Any],
    attempts: Mapping[int, Any],
    ledger: Mapping[int, Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Sentences about requests of the account to numbers that are not on its list.

    What began is in the store, and what left in the provider's ledger.
    """
    wrong = [
        f"request {row.attempt_id} of {ACCOUNT} is to …{row.msisdn % 10000}, whom it may not text"
        for row in messages
        if row.msisdn not in _ALLOWED
        and row.attempt_id in attempts
        and attempts[row.attempt_id].account == ACCOUNT
    ]
    wrong += [
        f"{ACCOUNT} texted …{number % 10000}, whom it may not text"
        for number, entries in ledger.items()
        if number not in _ALLOWED and any(entry.get("provider") == PROVIDER for entry in entries)
    ]
    return wrong
