"""What a tick costs an idle system: 10,000 finished campaigns, and as many messages as told.

python -m tests.benchmarks.idle [--campaigns 10000] [--messages 1000000]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade
from tests.fakes.history import fill
from tests.fakes.ticks import Ticker

_TICKS = 200
_LIMIT_MS = 5.0


@contextmanager
def filled(campaigns: int, messages: int) -> Iterator[Ticker]:
    """The ticks of a store with that history, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        url = f"sqlite:///{Path(folder, 'store.db')}"
        upgrade(url)
        with closing(Store(url)) as store:
            with store.write() as conn:
                fill(conn, campaigns=campaigns, messages=messages)
            yield Ticker(store, Path(folder))


def main() -> int:
    """Print the median and the 99th of a hundred; 1 where the median is over 5 ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    given = parser.parse_args()
    with filled(given.campaigns, given.messages) as ticker:
        ticker.tick()
        taken = []
        for _ in range(_TICKS):
            started = time.perf_counter()
            ticker.tick()
            taken.append((time.perf_counter() - started) * 1000)
    median, high = statistics.median(taken), statistics.quantiles(taken, n=100)[-1]
    print(
        f"{given.campaigns} finished campaigns, {given.messages} messages: "
        f"a tick takes {median:.2f} ms, 99 of 100 under {high:.2f} ms"
    )
    return int(median > _LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
