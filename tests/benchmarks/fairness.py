"""Whose turn it is: five campaigns on one account, two worker processes, judged by what arrived.

    python -m tests.benchmarks.fairness

A small campaign comes in the middle of a large one; then four large ones share the account; then a
more urgent one overtakes them all.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.support.cli import in_process
from tests.support.stage import Campaign, Stage, stage, wait_for

_RATE = 100.0
_BATCH = 10
_SMALL = 500
_LARGE = 20_000
_SHARED_S = 10.0
_ACCOUNT = {
    "messages_per_second": _RATE, "max_recipients": _BATCH, "max_in_flight": 4,
    "poll_first_s": 600, "poll_max_s": 600, "validity_hours": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """In multiples of the time that the small campaign and the urgent one need alone."""

    small: float
    urgent: float
    #: Messages of others that arrived between the urgent one's first and last.
    between: int
    #: Of four equal campaigns, as shares of what arrived.
    shares: list[float]

    @property
    def is_fair(self) -> bool:
        """About twice its own time in the middle of another; about its own where it is urgent."""
        return (
            1.8 <= self.small <= 2.3
            and self.urgent <= 1.2
            and self.between <= 4 * _BATCH
            and max(self.shares) - min(self.shares) <= 0.02
        )

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.1%}" for share in self.shares)
        return (
            f"{_SMALL} recipients in the middle of a large campaign took {self.small:.2f} times "
            f"their own time; four large ones had {shares}; {_SMALL} urgent ones took "
            f"{self.urgent:.2f} times their own time, {self.between} others among them"
        )


class _Sent:
    """A campaign and the range of its numbers."""

    def __init__(self, ours: Stage, n: int, count: int, *options: str) -> None:
        self._ours, self._first, self._count = ours, 919_800_000_000 + n * 1_000_000, count
        people = ours.people(count, first=self._first, name=f"{n}.csv")
        self.campaign: Campaign = ours.submit(people, *options)

    def has(self, entry: dict[str, Any]) -> bool:
        return self._first <= int(entry["number"]) < self._first + self._count

    def wait_for(self, count: int) -> None:
        wait_for(
            lambda: self.campaign.view.total_submitted >= count, f"{count} of it", within_s=180
        )

    def times(self) -> list[float]:
        return sorted(entry["at"] for entry in self._ours.provider.ledger() if self.has(entry))


def measure() -> Figures:
    """One run of about a minute."""
    with stage(accounts={"main": _ACCOUNT}, command=in_process, is_guarded=False) as ours:
        ours.start()
        ours.start_worker(name="worker2")
        large = [_Sent(ours, 0, _LARGE)]
        large[0].wait_for(300)
        small = _Sent(ours, 1, _SMALL)
        small.wait_for(_SMALL)
        large += [_Sent(ours, n, _LARGE) for n in (2, 3, 4)]
        large[-1].wait_for(50)
        since = time.time()
        wait_for(lambda: time.time() > since + _SHARED_S, "the shares")
        urgent = _Sent(ours, 5, _SMALL, "--priority", "10")
        urgent.wait_for(_SMALL)
        for each in large:
            each.campaign.command("cancel", "--yes")
        ledger = ours.provider.ledger()
        begin, end = urgent.times()[0], urgent.times()[-1]
        shared = [entry for entry in ledger if since < entry["at"] < begin]
        counts = Counter(n for n, each in enumerate(large) for e in shared if each.has(e))
        own_s = (_SMALL - _BATCH) / _RATE
        return Figures(
            small=(small.times()[-1] - small.times()[0]) / own_s,
            urgent=(end - begin) / own_s,
            between=sum(begin < e["at"] < end and not urgent.has(e) for e in ledger),
            shares=[counts[n] / sum(counts.values()) for n in range(len(large))],
        )


def main() -> int:
    """Print the figures; 1 where they are not fair."""
    figures = measure()
    print(figures)
    return int(not figures.is_fair)


if __name__ == "__main__":
    sys.exit(main())
