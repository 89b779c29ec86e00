"""A steady load for long, on PostgreSQL: nothing that should stay flat grows.

    make soak [SECONDS=300] [ARGS="--rate 3000 --workers 3"]

Campaigns follow each other at 3,000 recipients a second, through three worker processes, 2,000
recipients a request, to a lean provider. A line every few seconds shows memory and open files of
the largest worker, connections to PostgreSQL, what a recipient takes in the tables, and how long a
campaign takes from its submission to its last receipt. It ends with 1 where one of them grows,
where the load was not kept, or where anybody was submitted twice.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Final
from urllib.request import urlopen

import psutil
from sqlalchemy import text

from dispatcher.store.engine import Store
from tests.benchmarks.bulk import lean_provider
from tests.benchmarks.costs import TABLES_SIZE
from tests.support.cli import dispatcher
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import Campaign, Stage, stage

_FIRST: Final = 919_000_000_000
#: A campaign is worth so many seconds of the load, and so many of them wait.
_CAMPAIGN_S: Final = 10
_AHEAD: Final = 3
_SAMPLES: Final = 40
#: The share of the load that must be kept.
_LEAST_KEPT: Final = 0.95
#: By what a figure may grow: a factor, and an amount.
_MOST_GROWTH: Final = {
    "memory_mib": (1.10, 8.0),
    "files": (1.0, 4.0),
    "connections": (1.0, 4.0),
    "bytes_each": (1.10, 20.0),
    "campaign_s": (1.25, 3.0),
}
_CONNECTIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is seen at a time; memory and files are those of the largest worker."""

    at_s: float
    accepted: int
    memory_mib: float
    files: float
    connections: float
    #: Bytes in the tables for each recipient that was imported.
    bytes_each: float
    #: Seconds from a campaign's submission to its last receipt: the last one that is over.
    campaign_s: float

    def __str__(self) -> str:
        return (
            f"{self.at_s:6.0f} s: {self.accepted:9,} accepted, {self.memory_mib:.0f} MiB, "
            f"{self.files:.0f} files, {self.connections:.0f} connections, "
            f"{self.bytes_each:.0f} bytes a recipient, a campaign {self.campaign_s:.1f} s"
        )


def find_growth(samples: Sequence[Sample], *, rate: float) -> list[str]:
    """What has grown between the second quarter of the samples and the last one, in words."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    found = []
    for name, (factor, amount) in _MOST_GROWTH.items():
        before = median(getattr(each, name) for each in early)
        after = median(getattr(each, name) for each in late)
        if after > before * factor + amount:
            found.append(f"{name} grew from {before:.1f} to {after:.1f}")
    seconds = samples[-1].at_s - early[0].at_s
    kept = (samples[-1].accepted - early[0].accepted) / seconds if seconds else 0.0
    if kept < _LEAST_KEPT * rate:
        found.append(f"{kept:.0f} recipients a second of {rate:.0f} were submitted")
    return found


class Feeder:
    """Submits one campaign after another, some seconds ahead of the load."""

    def __init__(self, ours: Stage, rate: int) -> None:
        self._ours, self._each = ours, rate * _CAMPAIGN_S
        self._begun: list[tuple[float, Campaign]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder")
        self.imported = 0
        self.campaign_s = 0.0

    def start(self) -> None:
        """Begin to submit."""
        self._thread.start()

    def stop(self) -> None:
        """Submit no further one."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            if sum(self._waiting()) >= _AHEAD:
                self._stopping.wait(0.5)
                continue
            people = self._ours.folder / f"people-{number % 4}.csv"
            with people.open("w", encoding="utf-8") as file:
                file.write("phone,name\n")
                first = _FIRST + number * self._each
                file.writelines(f"{first + n},Name {n % 997}\n" for n in range(self._each))
            at = time.monotonic()
            campaign = self._ours.submit(people, "--text", "Dear {{name}}, it is ready.", "--again")
            self._begun.append((at, campaign))
            self.imported += self._each
            number += 1

    def _waiting(self) -> Iterator[bool]:
        """For each campaign that is not over, whether it still has somebody to submit."""
        for at, campaign in list(self._begun):
            view = campaign.view
            yield bool(view.counts["pending"])
            if view.is_over:
                self._begun.remove((at, campaign))
                self.campaign_s = time.monotonic() - at


def soak(*, seconds: float, rate: int, workers: int) -> Iterator[Sample]:
    """Run the load, and yield what is seen every few seconds."""
    with (
        lean_provider(1.0) as base,
        running_server(DURABLE) as server,
        server.database() as url,
        stage(
            accounts={"main": _account(base, rate)}, store_url=url, command=dispatcher,
            is_guarded=False, worker={"lease_s": 25, "requeue_after_s": 25, "max_connections": 12},
        ) as ours,
    ):  # fmt: skip
        names = ["worker", *(f"worker{n}" for n in range(2, workers + 1))]
        ours.start()
        for name in names[1:]:
            ours.start_worker(name=name)
        processes = [psutil.Process(ours.pid(name)) for name in names]
        feeder, began = Feeder(ours, rate), time.monotonic()
        feeder.start()
        try:
            while time.monotonic() - began < seconds:
                time.sleep(seconds / _SAMPLES)
                yield _take_sample(ours.store, processes, feeder, base, began)
        finally:
            feeder.stop()
        if doubles := _stats(base)["doubles"]:
            raise SystemExit(f"{doubles} recipients were submitted twice")


def _account(base: str, rate: int) -> dict[str, Any]:
    return {
        "base_url": base, "timeout_s": 30, "poll_first_s": 1, "poll_max_s": 5,
        "validity_hours": 1, "messages_per_second": rate,
    }  # fmt: skip


def _take_sample(
    store: Store, processes: Sequence[psutil.Process], feeder: Feeder, base: str, began: float
) -> Sample:
    with store.read() as conn:
        size = int(conn.execute(text(TABLES_SIZE)).scalar_one())
        connections = int(conn.execute(text(_CONNECTIONS)).scalar_one())
    return Sample(
        at_s=time.monotonic() - began,
        accepted=int(_stats(base)["accepted"]),
        memory_mib=max(each.memory_info().rss for each in processes) / 2**20,
        files=max(each.num_fds() for each in processes),
        connections=connections,
        bytes_each=size / max(1, feeder.imported),
        campaign_s=feeder.campaign_s,
    )


def _stats(base: str) -> dict[str, Any]:
    with urlopen(f"{base}/stats") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def main() -> int:
    """Print the samples; 1 where something has grown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=3)
    given = parser.parse_args()
    samples = []
    with suppress(KeyboardInterrupt):
        for each in soak(seconds=given.seconds, rate=given.rate, workers=given.workers):
            samples.append(each)
            print(each, flush=True)
    grown = find_growth(samples, rate=given.rate)
    print("\n".join(grown) or "nothing has grown")
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
