"""Self-clocking: a worker that finishes a batch releases the next one, without waiting for a tick.

Releasing scans the whole account, so a worker does not do it after every batch: it waits until an
eighth of the account's slots are free. One release serves every batch that finished meanwhile.
"""

import threading
from collections import Counter
from typing import Final

_RELEASE_SHARE: Final = 1 / 8


class ReleaseClock:
    """Decides when this process releases batches. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = Counter[str]()
        self._freed: dict[str, float] = {}
        self._waiting: set[str] = set()

    def note_claimed(self, account: str) -> None:
        """Count one more held batch of the account."""
        with self._lock:
            self._held[account] += 1

    def free_slots(self, account: str, freed: float, all_slots: int) -> bool:
        """Count one held batch less, and the slots that it frees.

        Returns whether the calling thread must release now.
        """
        with self._lock:
            self._held[account] -= 1
            self._freed[account] = self._freed.get(account, 0.0) + freed
            is_worth_it = (
                self._freed[account] >= all_slots * _RELEASE_SHARE or not self._held[account]
            )
            if not is_worth_it or account in self._waiting:
                return False
            self._waiting.add(account)
            return True

    def start_release(self, account: str) -> None:
        """Note that the release now reads the store: it does not see slots freed from here on."""
        with self._lock:
            self._waiting.discard(account)
            self._freed[account] = 0.0
