"""A bulk campaign beside its floor: CSV in, everything submitted with ids, every receipt stored.

    python -m tests.benchmarks.bulk [--count 100000] [--store sqlite|postgres] [--workers 1]

Real Celery processes, 2,000 recipients a request, against a lean provider that answers at once. The
floor (`floors.py`) does the same work in the same minute, in one process with nothing around it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from tests.support.cli import dispatcher
from tests.support.postgres_server import DURABLE, PostgresServer, running_server
from tests.support.stage import stage, wait_for

_FIRST = 919_800_000_000
_TEXT = "Dear {{name}}, your parcel is at the counter."
_WITHIN_S = 900
#: Of the total, by store.
_TARGETS = {"sqlite": 2.0, "postgres": 1.6}
_TARGET_US = 25.0


@dataclass(frozen=True)
class Used:
    """What a process has used."""

    cpu_s: float
    rss_mib: int


@dataclass(frozen=True)
class Measured:
    """A run of the program."""

    import_s: float
    sent_s: float
    total_s: float
    workers: list[Used]
    provider: dict[str, Any]

    def cpu_us(self, count: int) -> float:
        """Processor time of all workers for each recipient, in microseconds."""
        return sum(each.cpu_s for each in self.workers) * 1e6 / count


@contextmanager
def lean_provider(receipts_s: float) -> Iterator[str]:
    """A provider in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.bulk_provider"]
    process = subprocess.Popen(
        [*command, "--receipts-s", str(receipts_s)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def write_people(path: Path, count: int) -> None:
    """A file of `count` recipients."""
    with path.open("w", encoding="utf-8") as file:
        file.write("phone,name\n")
        file.writelines(f"{_FIRST + n},Name {n % 9973}\n" for n in range(count))


def measure_floor(people: Path, kind: str, place: str, receipts_s: float) -> dict[str, Any]:
    """Run the floor in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.floors", kind]
    with lean_provider(receipts_s) as base:
        ended = subprocess.run(
            [*command, base, str(people), place], capture_output=True, text=True, check=True
        )
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures


def measure(
    people: Path,
    count: int,
    *,
    workers: int,
    store_url: str | None,
    receipts_s: float,
    profile: Path | None,
    account: dict[str, Any],
) -> Measured:
    """Run a campaign by real processes, from `campaign submit` to the last receipt."""
    with lean_provider(receipts_s) as base:
        given = {
            "base_url": base, "timeout_s": 60,
            "poll_first_s": 1, "poll_max_s": 5, "validity_hours": 1,
        }  # fmt: skip
        with stage(
            accounts={"main": given | account},
            store_url=store_url,
            command=dispatcher,
            is_guarded=False,
            worker={"lease_s": 25, "requeue_after_s": 25},
        ) as ours:
            names = ["worker", *(f"worker{n}" for n in range(2, workers + 1))]
            ours.start()
            for name in names[1:]:
                ours.start_worker(name=name)
            processes = [psutil.Process(ours.pid(name)) for name in names]
            before = [_cpu_s(process) for process in processes]
            began, began_at = time.monotonic(), time.time()
            campaign = ours.submit(people, "--text", _TEXT)
            import_s = time.monotonic() - began
            if profile is not None:
                _start_profile(processes[0].pid, profile)
            wait_for(
                lambda: campaign.view.total_submitted == count, "everybody", within_s=_WITHIN_S
            )

            def all_final() -> bool:
                counts = campaign.view.counts
                return counts["delivered"] + counts["undelivered"] == count

            wait_for(all_final, "every receipt", within_s=_WITHIN_S)
            total_s = time.monotonic() - began
            used = [
                Used(_cpu_s(process) - cpu_s, _peak_mib(process.pid))
                for process, cpu_s in zip(processes, before, strict=True)
            ]
            with urlopen(f"{base}/stats") as answer:
                stats = json.load(answer)
    return Measured(
        import_s=import_s,
        sent_s=stats["last_at"] - began_at,
        total_s=total_s,
        workers=used,
        provider=stats,
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def _start_profile(pid: int, into: Path) -> None:
    command = ["py-spy", "record", "--gil", "-f", "raw", "-r", "200", "-d", "600"]
    subprocess.Popen([*command, "-o", str(into), "-p", str(pid)], stdout=subprocess.DEVNULL)


def _print_run(name: str, import_s: float, sent_s: float, total_s: float, rest: str) -> None:
    print(
        f"{name}: import {import_s:.1f}, submitted after {sent_s:.1f}, all final after "
        f"{total_s:.1f} s; {rest}",
        flush=True,
    )


def main() -> int:
    """Print the floor, the program and their ratio; 1 where it is too high or anybody was hurt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--store", choices=sorted(_TARGETS), default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--receipts-s", type=float, default=1.0)
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--profile", type=Path, help="where py-spy writes, for 600 s or Ctrl-C")
    parser.add_argument("--no-floor", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        server: PostgresServer | None = None
        if given.store == "postgres":
            server = stack.enter_context(running_server(DURABLE))
        folder = Path(stack.enter_context(_folder()))
        people = folder / "people.csv"
        write_people(people, given.count)
        floor_s = None
        if not given.no_floor:
            place = str(folder / "floor.db")
            if server is not None:
                place = stack.enter_context(server.database()).replace("+psycopg", "")
            floor = measure_floor(people, given.store, place, given.receipts_s)
            assert floor["final"] == given.count, floor
            floor_s = floor["total_s"]
            rest = f"{floor['cpu_s']:.1f} s of processor time, {floor['rss_mib']} MiB"
            _print_run(
                "floor", floor["import_s"], floor["import_s"] + floor["send_s"], floor_s, rest
            )
        url = stack.enter_context(server.database()) if server is not None else None
        found = measure(
            people,
            given.count,
            workers=given.workers,
            store_url=url,
            receipts_s=given.receipts_s,
            profile=given.profile,
            account={} if given.in_flight is None else {"max_in_flight": given.in_flight},
        )
    cpu = " + ".join(f"{each.cpu_s:.1f}" for each in found.workers)
    rss = " + ".join(str(each.rss_mib) for each in found.workers)
    seen = found.provider
    rest = (
        f"workers {cpu} s of processor time, {found.cpu_us(given.count):.1f} µs for each "
        f"recipient, {rss} MiB; {seen['polls']} polls, {seen['doubles']} doubles"
    )
    _print_run("program", found.import_s, found.sent_s, found.total_s, rest)
    failed = bool(found.provider["doubles"]) or found.provider["accepted"] != given.count
    if floor_s is not None:
        ratio = found.total_s / floor_s
        print(f"{ratio:.2f} times the floor; at most {_TARGETS[given.store]:g} wanted")
        failed |= ratio > _TARGETS[given.store] or found.cpu_us(given.count) > _TARGET_US
    return int(failed)


@contextmanager
def _folder() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="bulk-", dir="/tmp") as name:
        yield name


if __name__ == "__main__":
    sys.exit(main())
