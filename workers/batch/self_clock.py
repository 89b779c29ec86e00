"""Self-clocking: who finishes a batch releases the next, so that no tick is waited for.

A release looks at the whole account. So not each of many batches makes one: an eighth of the places
is gathered, and who waits for a turn at the store serves all who finish until then.
"""

import threading
from collections import Counter
from typing import Final

_RELEASE_SHARE: Final = 1 / 8


class ReleaseClock:
    """When to release: told by batches that begin and end, of any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = Counter[str]()
        self._freed: dict[str, float] = {}
        self._waiting: set[str] = set()

    def note_claimed(self, account: str) -> None:
        """A batch of the account is held from now on."""
        with self._lock:
            self._held[account] += 1

    def free_slots(self, account: str, places: float, all_places: int) -> bool:
        """It ended; whether its thread is to release."""
        with self._lock:
            self._held[account] -= 1
            self._freed[account] = self._freed.get(account, 0.0) + places
            is_worth_it = (
                self._freed[account] >= all_places * _RELEASE_SHARE or not self._held[account]
            )
            if not is_worth_it or account in self._waiting:
                return False
            self._waiting.add(account)
            return True

    def start_release(self, account: str) -> None:
        """The release has its turn: who ends from now on is not seen by it."""
        with self._lock:
            self._waiting.discard(account)
            self._freed[account] = 0.0
