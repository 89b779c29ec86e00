"""What ticks cost where campaigns only wait for receipts, and beside a burst of submissions.

    python -m tests.benchmarks.ticks [--accounts 1000 --campaigns 1000 --store sqlite|postgres]

Each campaign has sent everything and waits for receipts that are not due yet. A tick a second, in
this process: its time, statements, and share of a core. Then `--burst` campaigns become due at
once, over all accounts, and whatever is released is worked off, until all of them were released.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import event, insert, select, update
from sqlalchemy.engine import Engine

from dispatcher.status import BatchState, CampaignState
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, SCHEDULER
from tests.support.postgres_server import running_server
from tests.support.ticks import Ticker

P95_MS = 300.0
SHARE = 0.10


@contextmanager
def opened(kind: str) -> Iterator[tuple[Store, Path]]:
    """An empty store of a kind, in a folder of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ticks-")))
        url = f"sqlite:///{folder / 'store.db'}"
        if kind == "postgres":
            url = stack.enter_context(stack.enter_context(running_server()).database())
        upgrade_store(url)
        yield stack.enter_context(closing(Store(url))), folder


def fill(store: Store, accounts: list[str], campaigns: int) -> None:
    """Running campaigns over these accounts, each with a settled batch that is polled tomorrow."""
    now = datetime.now(UTC)
    each = [(n + 1, accounts[n % len(accounts)]) for n in range(campaigns)]
    with store.write() as conn:
        conn.execute(insert(ACCOUNT), [{"name": name} for name in accounts])
    add_campaigns(store, each, BatchState.SETTLED)
    with store.write() as conn:
        conn.execute(
            insert(ATTEMPT),
            [
                {"campaign_id": n, "batch_id": n, "account": name, "size": 1, "outcome": 1,
                 "begun_at": now, "deadline": now, "poll_at": now + timedelta(days=1),
                 "poll_until": now + timedelta(days=2)}
                for n, name in each
            ],
        )  # fmt: skip


def add_campaigns(store: Store, each: list[tuple[int, str]], state: BatchState) -> None:
    """Running campaigns of one batch with one message each, by id and account."""
    now = datetime.now(UTC)
    left = 1 if state is BatchState.PENDING else 0
    with store.write() as conn:
        conn.execute(
            insert(CAMPAIGN),
            [
                {"id": n, "name": f"campaign {n}", "state": CampaignState.RUNNING, "account": name,
                 "kind": "transactional", "sender": "S", "text": "Hello", "columns": "[]",
                 "source_name": "people.csv", "content_key": str(n), "on_doubt": "hold",
                 "created_at": now, "started_at": now}
                for n, name in each
            ],
        )  # fmt: skip
        conn.execute(
            insert(BATCH),
            [
                {"id": n, "campaign_id": n, "account": name, "state": state, "size": 1, "parts": 1,
                 "pending": left, "submitted": 1 - left}
                for n, name in each
            ],
        )  # fmt: skip


class Counted:
    """Statements since the last look."""

    def __init__(self) -> None:
        self.n = 0
        event.listen(Engine, "before_cursor_execute", self._note)

    def _note(self, *_: object) -> None:
        self.n += 1

    def take(self) -> int:
        taken, self.n = self.n, 0
        return taken


def measure(store: Store, ticker: Ticker, ticks: int) -> tuple[float, float]:
    """Tick once a second; print times and statements; p95 in ms, and the share of a core."""
    counted = Counted()
    ticker.tick()
    times, statements, used = [], [], 0.0
    for _ in range(ticks):
        counted.take()
        started = time.process_time()
        times.append(ticker.tick() * 1000)
        used += time.process_time() - started
        statements.append(counted.take())
    p95, share = statistics.quantiles(times, n=20)[-1], used / ticks
    print(
        f"waiting: p50 {statistics.median(times):.0f} ms, p95 {p95:.0f} ms, "
        f"{statistics.median(statements):.0f} statements a tick, {share:.1%} of a core at a tick a "
        f"second, {store.engine.pool.checkedin()} connections",  # type: ignore[attr-defined]
        flush=True,
    )
    return p95, share


def measure_burst(store: Store, ticker: Ticker, accounts: list[str], burst: int) -> None:
    """Make campaigns due at once; two schedulers tick until all of them were released."""
    first = 10_000_000
    each = [(first + n, accounts[n % len(accounts)]) for n in range(burst)]
    add_campaigns(store, each, BatchState.PENDING)
    times: list[float] = []
    started = time.perf_counter()

    def tick_twice() -> None:
        beside = threading.Thread(target=ticker.tick)
        beside.start()
        times.append(ticker.tick() * 1000)
        beside.join()

    while left := _work_off(store):
        if time.perf_counter() - started > 120:
            print(f"burst: {left} campaigns are left after two minutes")
            return
        tick_twice()
    took_s = time.perf_counter() - started
    print(
        f"burst of {burst}: released in {took_s:.1f} s by {len(times)} ticks "
        f"with another one beside each; p50 {statistics.median(times):.0f} ms, "
        f"longest {max(times):.0f} ms"
    )


def _work_off(store: Store) -> int:
    """Settle what was released; how many batches are still pending."""
    with store.write(survives_power_cut=False) as conn:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.state == BatchState.QUEUED)
            .values(state=BatchState.SETTLED, pending=0, submitted=1)
        )
        conn.execute(SCHEDULER.update().values(ticked_at=datetime.now(UTC) - timedelta(seconds=1)))
        query = select(BATCH.c.id).where(BATCH.c.state == BatchState.PENDING)
        return len(conn.execute(query).all())


def run(kind: str, accounts: int, campaigns: int, ticks: int, burst: int) -> tuple[float, float]:
    """Fill a store and tick; p95 in ms, and the share of a core."""
    names = ["main", *(f"account{n:04}" for n in range(1, accounts))]
    with opened(kind) as (store, folder):
        fill(store, names, campaigns)
        # For the tasks that ticks publish: nobody takes them.
        os.environ["DISPATCHER_CONFIG"] = str(folder / "dispatcher.toml")
        ticker = Ticker(store, folder, accounts=names)
        import workers.app

        workers.app.app.send_task = lambda *_args, **_options: None
        found = measure(store, ticker, ticks)
        if burst:
            measure_burst(store, ticker, names, burst)
    return found


def main() -> int:
    """Print the figures; 1 where a tick or its share of a core is above the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--burst", type=int, default=1000)
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    print(f"{given.store}: {given.accounts} accounts, {given.campaigns} running campaigns")
    p95, share = run(given.store, given.accounts, given.campaigns, given.ticks, given.burst)
    return int(p95 > P95_MS or share > SHARE)


if __name__ == "__main__":
    sys.exit(main())
