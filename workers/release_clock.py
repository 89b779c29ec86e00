"""Self-clocking: a worker that finishes a batch releases the next ones, without waiting for a tick.

Releasing scans the whole account, so a worker does not do it after every batch: it waits until an
eighth of the account's slots are free, of eight slots two. One release serves every batch that
finished meanwhile.
"""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from dispatcher.policy.concurrency import Concurrency, Observation, next_concurrency

_RELEASE_SHARE: Final = 1 / 8
#: At least so many slots, where that is not more than a quarter of them.
_LEAST_RELEASED: Final = 2


@dataclass(slots=True)
class _Account:
    held: int = 0
    freed: float = 0.0
    is_waiting: bool = False
    #: Messages by campaign id that were released and did not leave.
    unsent: Counter[int] = field(default_factory=Counter)
    concurrency: Concurrency = field(default_factory=Concurrency)


class ReleaseClock:
    """When to release, and how many requests of an account may be in flight where nobody set it.

    Batches report their begin and end, on any thread of this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts = defaultdict[str, _Account](_Account)

    def max_in_flight(self, account: str, configured: int | None) -> int:
        """The configured number of requests in flight, or else the one found so far."""
        if configured is not None:
            return configured
        with self._lock:
            return self._accounts[account].concurrency.requests

    def note_claimed(self, account: str) -> None:
        """Note that a batch of the account is held from now on."""
        with self._lock:
            self._accounts[account].held += 1

    def note_unsent(self, account: str, campaign_id: int, messages: int) -> None:
        """Note that messages of a released batch did not leave."""
        if messages:
            with self._lock:
                self._accounts[account].unsent[campaign_id] += messages

    def note_answers(self, account: str, seen: Observation) -> None:
        """Note how the provider answered in a turn."""
        with self._lock:
            known = self._accounts[account]
            known.concurrency = next_concurrency(known.concurrency, seen)

    def free_slots(self, account: str, slots: float, all_slots: int) -> bool:
        """Note that a batch ended; returns whether its thread should release."""
        with self._lock:
            known = self._accounts[account]
            known.held -= 1
            known.freed += slots
            share = max(all_slots * _RELEASE_SHARE, min(_LEAST_RELEASED, all_slots / 4))
            is_worth_it = known.freed >= share or not known.held
            if not is_worth_it or known.is_waiting:
                return False
            known.is_waiting = True
            return True

    def start_release(self, account: str) -> dict[int, int]:
        """The release has its turn: batches that end from now on are not seen by it.

        Returns the messages by campaign id that were released before and did not leave.
        """
        with self._lock:
            known = self._accounts[account]
            known.is_waiting, known.freed = False, 0.0
            unsent, known.unsent = dict(known.unsent), Counter()
            return unsent
