"""What a tick costs an idle system: 10,000 finished campaigns, and as many messages as given.

    python -m tests.benchmarks.idle [--campaigns 10000] [--messages 10000000]

The time of a tick, and what its first one reads from the store's files with nothing cached: with a
hundredth of the history and with all of it, so that what grows is seen.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from tests.support.history import fill
from tests.support.ticks import Ticker

_TICKS = 200
LIMIT_MS = 5.0
#: A hundred times the rows are a level more of some index: a page for each look into it.
_LEVELS_KIB = 32.0


@dataclass(frozen=True)
class Cost:
    """Of a tick: the median and what 99 of 100 stay under, and what a first one reads."""

    median_ms: float
    high_ms: float
    read_kib: float

    def __str__(self) -> str:
        return (
            f"a tick takes {self.median_ms:.2f} ms, 99 of 100 under {self.high_ms:.2f} ms; "
            f"with nothing cached it reads {self.read_kib:.0f} KiB"
        )


@contextmanager
def filled(campaigns: int, messages: int) -> Iterator[tuple[Store, Ticker]]:
    """A store with that history, in a folder of its own, and its ticks."""
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        url = f"sqlite:///{Path(folder, 'store.db')}"
        upgrade_store(url)
        with closing(Store(url)) as store:
            with store.engine.connect() as conn:
                # Nothing of it has to outlive a crash, and a log as large as the store is slow.
                conn.exec_driver_sql("PRAGMA journal_mode=OFF")
                conn.exec_driver_sql("PRAGMA synchronous=OFF")
                conn.exec_driver_sql("BEGIN")
                fill(conn, campaigns=campaigns, messages=messages)
                conn.commit()
                conn.exec_driver_sql("PRAGMA journal_mode=WAL")
            store.close()
            yield store, Ticker(store, Path(folder))


def measure(campaigns: int, messages: int) -> Cost:
    """Tick in an idle store of that history."""
    with filled(campaigns, messages) as (store, ticker):
        ticker.tick()
        store.close()  # and with its connections what they have cached
        before = _read_bytes()
        ticker.tick()
        read = _read_bytes() - before
        taken = [ticker.tick() * 1000 for _ in range(_TICKS)]
    return Cost(statistics.median(taken), statistics.quantiles(taken, n=100)[-1], read / 1024)


def _read_bytes() -> int:
    """What this process has read so far, from files in memory too (proc(5), `rchar`)."""
    lines = Path(f"/proc/{os.getpid()}/io").read_text(encoding="ascii").splitlines()
    return int(lines[0].removeprefix("rchar: "))


def main() -> int:
    """Print both; 1 where the median is over 5 ms, or where more history makes a tick read more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=10_000_000)
    given = parser.parse_args()
    costs = []
    for share in (100, 1):
        campaigns, messages = given.campaigns // share, given.messages // share
        costs.append(cost := measure(campaigns, messages))
        print(f"{campaigns} finished campaigns, {messages} messages: {cost}", flush=True)
    grows = costs[1].read_kib > costs[0].read_kib + _LEVELS_KIB
    return int(costs[1].median_ms > LIMIT_MS or grows)


if __name__ == "__main__":
    sys.exit(main())
