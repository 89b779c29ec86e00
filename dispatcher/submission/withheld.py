"""Who gets no message although the number is valid.

Who is on the suppression list, and whom an account with `allow_only` may not text.
"""

from collections.abc import Collection, Sequence
from typing import Final

from pyroaring import BitMap64
from sqlalchemy import Connection

from dispatcher.numbers.allow_list import allowed_numbers
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import RejectKind
from dispatcher.store import suppressions
from dispatcher.store.engine import Store
from dispatcher.store.erased_numbers import ErasedNumbers
from dispatcher.store.migrate import current_revision

#: Numbers that are looked up one by one, before the whole list is read.
_FEW: Final = 50
#: The reason of a row whose number is on the list.
ON_LIST: Final = (
    "the number is on the suppression list: `dispatcher suppression check` says since when and why"
)

#: The reason of a row whose number the account may not text.
NOT_ALLOWED: Final = "the account sends only to the numbers of its `allow_only`"


class WithheldRecipients:
    """The numbers that an account must not text. Begins look again."""

    def __init__(self, store: Store, account: str, settings: ProviderSettings) -> None:
        """Raises ConfigError for an `allow_only` that cannot be read."""
        self._suppressed = SuppressedNumbers(store, account)
        self._allowed = allowed_numbers(settings.allow_only, settings.country)

    def __contains__(self, msisdn: int) -> bool:
        """Whether a number gets no message. Raises StoreError."""
        is_allowed = self._allowed is None or msisdn in self._allowed
        return not is_allowed or msisdn in self._suppressed

    def find_among(self, msisdns: Sequence[int]) -> Collection[int]:
        """Those of many numbers that get none. Raises StoreError."""
        found = self._suppressed.find_among(msisdns)
        if self._allowed is None:
            return found
        allowed = self._allowed
        return [*found, *(msisdn for msisdn in msisdns if msisdn not in allowed)]

    def load_numbers(self) -> None:
        """Read the list: the store is not asked later. Raises StoreError."""
        self._suppressed.load_numbers()

    def explain(self, msisdn: int) -> tuple[RejectKind, str]:
        """Why it gets none. Without the number: a reason of many rows is counted once."""
        if self._allowed is not None and msisdn not in self._allowed:
            return RejectKind.INVALID, NOT_ALLOWED
        return RejectKind.SUPPRESSED, ON_LIST


class SuppressedNumbers:
    """The numbers on the suppression list that concern an account.

    The list is read when many numbers are looked up, into a compressed bitmap: 2.5 bytes a number.
    """

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account
        self._looks = 0
        self._numbers: BitMap64 | None = None
        #: None where nobody was erased: a hash for each number takes time.
        self._erased: ErasedNumbers | None = None

    def __contains__(self, msisdn: int) -> bool:
        """Whether a number is on the list. Raises StoreError."""
        if self._numbers is not None:
            return msisdn in self._numbers or (self._erased is not None and msisdn in self._erased)
        if not self._looks and current_revision(self._store) is None:
            self._numbers = BitMap64()  # a dry run needs no store
            return False
        self._looks += 1
        if self._looks > _FEW:
            self.load_numbers()
            return msisdn in self
        with self._store.read() as conn:
            return suppressions.is_listed(conn, msisdn, self._account)

    def load_numbers(self) -> None:
        """Read the whole list, and who was erased. Raises StoreError."""
        with self._store.read() as conn:
            self._numbers = self._read_whole_list(conn)
            self._erased = ErasedNumbers(conn) or None

    def find_among(self, msisdns: Sequence[int]) -> Collection[int]:
        """Those of many numbers that are on the list. Raises StoreError."""
        if self._numbers is not None and not self._numbers and self._erased is None:
            return ()
        return [msisdn for msisdn in msisdns if msisdn in self]

    def _read_whole_list(self, conn: Connection) -> BitMap64:
        numbers, last = BitMap64(), 0
        while page := suppressions.next_numbers(conn, self._account, last):
            numbers.update(page)
            last = page[-1]
        return numbers
