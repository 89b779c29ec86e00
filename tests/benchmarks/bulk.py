"""A bulk campaign beside its floor: CSV in, everything submitted with ids, every receipt stored.

    python -m tests.benchmarks.bulk [--count 100000] [--store sqlite|postgres] [--workers 1]

Real Celery processes, 2,000 recipients a request, against a lean provider that answers at once. The
floor (`floors.py`) does the same work in the same minute, in one process with nothing around it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from tests.support.cli import dispatcher
from tests.support.folders import FOLDER
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import stage, wait_for

_FIRST = 919_800_000_000
_TEXT = "Dear {{name}}, your parcel is at the counter."
_WITHIN_S = 900
#: Of the total, by store.
TARGETS = {"sqlite": 2.0, "postgres": 1.6}
TARGET_US = 25.0


@dataclass(frozen=True)
class Used:
    """What a process has used."""

    cpu_s: float
    rss_mib: int

    def __str__(self) -> str:
        return f"{self.cpu_s:.1f} s {self.rss_mib} MiB"


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
    with subprocess.Popen(
        [*command, "--receipts-s", str(receipts_s)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


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


def used_by(pid: int) -> Used:
    """What a process has used since its start."""
    return Used(_cpu_s(psutil.Process(pid)), _peak_mib(pid))


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


@dataclass(frozen=True)
class Pair:
    """The floor, unless it was left out, and the program beside it."""

    floor: dict[str, Any] | None
    program: Measured
    #: What `beside` has found.
    beside: Any = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor's time the program took."""
        return None if self.floor is None else self.program.total_s / self.floor["total_s"]


def measure_pair(
    count: int,
    kind: str,
    *,
    workers: int = 1,
    receipts_s: float = 1.0,
    has_floor: bool = True,
    profile: Path | None = None,
    account: dict[str, Any] | None = None,
    beside: Callable[[Path, str], Any] | None = None,
) -> Pair:
    """Run the floor and the program over stores of the same kind, in the same place.

    `beside` is another peer: it gets the recipients and the URL of an empty store.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-", dir=FOLDER)))
        server = stack.enter_context(running_server(DURABLE)) if kind == "postgres" else None

        def new_store(name: str) -> str:
            if server is None:
                return f"sqlite:///{folder / name}.db"
            return stack.enter_context(server.database())

        people = folder / "people.csv"
        write_people(people, count)
        floor = None
        if has_floor:
            place = new_store("floor").removeprefix("sqlite:///").replace("+psycopg", "")
            floor = measure_floor(people, kind, place, receipts_s)
            assert floor["final"] == count, floor
        found = measure(
            people,
            count,
            workers=workers,
            store_url=None if server is None else new_store("program"),
            receipts_s=receipts_s,
            profile=profile,
            account=account or {},
        )
        other = None if beside is None else beside(people, new_store("peer"))
    return Pair(floor, found, other)


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
    parser.add_argument("--store", choices=sorted(TARGETS), default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--receipts-s", type=float, default=1.0)
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--profile", type=Path, help="where py-spy writes, for 600 s or Ctrl-C")
    parser.add_argument("--no-floor", action="store_true")
    given = parser.parse_args()
    pair = measure_pair(
        given.count,
        given.store,
        workers=given.workers,
        receipts_s=given.receipts_s,
        has_floor=not given.no_floor,
        profile=given.profile,
        account={} if given.in_flight is None else {"max_in_flight": given.in_flight},
    )
    floor, found = pair.floor, pair.program
    if floor is not None:
        rest = f"{floor['cpu_s']:.1f} s of processor time, {floor['rss_mib']} MiB"
        sent_s = floor["import_s"] + floor["send_s"]
        _print_run("floor", floor["import_s"], sent_s, floor["total_s"], rest)
    cpu = " + ".join(f"{each.cpu_s:.1f}" for each in found.workers)
    rss = " + ".join(str(each.rss_mib) for each in found.workers)
    seen = found.provider
    rest = (
        f"workers {cpu} s of processor time, {found.cpu_us(given.count):.1f} µs for each "
        f"recipient, {rss} MiB; {seen['polls']} polls, {seen['doubles']} doubles"
    )
    _print_run("program", found.import_s, found.sent_s, found.total_s, rest)
    failed = bool(found.provider["doubles"]) or found.provider["accepted"] != given.count
    if (ratio := pair.ratio) is not None:
        print(f"{ratio:.2f} times the floor; at most {TARGETS[given.store]:g} wanted")
        failed |= ratio > TARGETS[given.store] or found.cpu_us(given.count) > TARGET_US
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
