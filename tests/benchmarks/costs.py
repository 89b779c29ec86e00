"""What a recipient costs workers, PostgreSQL and its disk: the inputs of `capacity.py`.

    python -m tests.benchmarks.costs [--bulk 100000] [--singles 10000]

A campaign in bulk, to its last receipt, and one of personal texts, a request each, until all are
submitted (what their receipts take depends on the provider's pages: `polls.py`), by one worker over
PostgreSQL with durable commits. Processor time depends little on what else the machine does.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
from sqlalchemy import text

from tests.benchmarks.bulk import lean_provider, used_by, write_people
from tests.support.cli import dispatcher
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import KEY, stage, wait_for

TABLES_SIZE: Final = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN "
    "('message', 'batch', 'attempt')"
)
_WITHIN_S: Final = 600.0
_FATES: Final = ("--delivered", "0.95", "--undelivered", "0.05", "--expired", "0")
#: What a worker computes before it has anything to do.
_START_S: Final = 3.0


class Costs(NamedTuple):
    """Of one recipient: microseconds of processor time, and bytes."""

    worker_us: float
    store_us: float
    size: float

    def __str__(self) -> str:
        return (
            f"workers {self.worker_us:.0f} µs, PostgreSQL {self.store_us:.0f} µs, "
            f"{self.size:.0f} bytes a recipient"
        )


def server_cpu_s(folder: Path) -> float:
    """Processor time of a PostgreSQL server and of every session that it has had."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if str(folder) in words and process.info["name"].startswith("postgres"):
            family = [process, *process.children(recursive=True)]
            times = [each.cpu_times() for each in family]
            ended = process.cpu_times()
            spent = sum(each.user + each.system for each in times)
            return float(spent + ended.children_user + ended.children_system)
    raise LookupError(f"no server runs in {folder}")


def measure(account: dict[str, Any], count: int, *, is_bulk: bool) -> Costs:
    """Run a campaign: to its last receipt in bulk, else until all are submitted."""
    with (
        running_server(DURABLE) as server,
        server.database() as url,
        stage(
            accounts={"main": account},
            store_url=url,
            command=dispatcher,
            is_guarded=False,
            simulator=_FATES,
        ) as ours,
    ):
        people = ours.folder / "people.csv"
        write_people(people, count)
        ours.start()
        time.sleep(_START_S)
        worker_s, server_s = used_by(ours.pid("worker")).cpu_s, server_cpu_s(server.folder)
        words = "Dear {{name}}, it is ready." if is_bulk else "Your order {{phone}} is ready."
        campaign = ours.submit(people, "--text", words)
        wait_for(
            lambda: campaign.view.is_over if is_bulk else not campaign.counts["pending"],
            "everybody", within_s=_WITHIN_S,
        )  # fmt: skip
        worker_s = used_by(ours.pid("worker")).cpu_s - worker_s
        server_s = server_cpu_s(server.folder) - server_s
        with ours.store.read() as conn:
            size = int(conn.execute(text(TABLES_SIZE)).scalar_one())
    return Costs(worker_s * 1e6 / count, server_s * 1e6 / count, size / count)


def main() -> int:
    """Print what a recipient costs, in bulk and one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bulk", type=int, default=100_000)
    parser.add_argument("--singles", type=int, default=10_000)
    given = parser.parse_args()
    polls = {"poll_first_s": 1, "poll_max_s": 5, "validity_hours": 1}
    never = {"poll_first_s": 600, "poll_max_s": 600, "validity_hours": 1}
    if given.bulk:
        with lean_provider(1.0) as base:
            bulk = measure({"base_url": base, **polls}, given.bulk, is_bulk=True)
        print(f"bulk: {bulk}", flush=True)
    server = {"provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None}
    print(f"one by one: {measure({**server, **never}, given.singles, is_bulk=False)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
