"""What `campaign submit`, `export` and commands on a large campaign cost: time, processor, memory.

    python -m tests.benchmarks.imports [--count 100000] [--only submit] [--store postgres]

Each line is a process of its own, as a person starts it: seconds, processor seconds of user and
system, and the most memory that it held. `--program` measures another checkout's `dispatcher`.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.store.migrate import upgrade_store
from tests.support.postgres_server import running_server
from tests.support.simulator import SimulatorProcess

#: Prefixes of mobile numbers and how many digits follow; the first country is the account's.
_RANGES: Final = (
    ("+9198", 8), ("98", 8), ("+91 97", 8), ("+49151", 8), ("+336", 8), ("+55119", 8),
    ("+62812", 8), ("+4850", 7),
)  # fmt: skip
_HOME: Final = 3
_NAMES: Final = ("Asha", "Zoë", "Jürgen", "Robert", "Ewa", "Chidi", "Lars", "", "María", "Tom")
_TEXTS: Final = {
    "plain": "Your parcel is at the counter until Friday.",
    "personal": "Dear {{name|customer}}, order {{order}} is at the counter in {{city}}.",
}
_ACCOUNTS: Final = {
    "bulk": ("thesmspoint", 'api_key = "key"\ntemplate = "TEMPLATE"'),
    "single": ("smsnoc", 'api_token = "key"'),
}
_PROGRAM: Final = str(Path(sys.executable).with_name("dispatcher"))
#: In this order: later commands need what earlier ones left.
_COMMANDS: Final = (
    "dry-run", "submit", "show", "list", "pause", "resume", "export", "cancel", "export-cancelled",
)  # fmt: skip
#: Runs a program and prints its exit status, time and memory. Linux counts the memory of the
#: process that forks as the child's own peak, so that this one must be small.
_LAUNCHER: Final = """
import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
began = time.monotonic()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)])
_pid, status, used = os.wait4(pid, 0)
wall_s = time.monotonic() - began
print(status, wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process."""

    wall_s: float
    cpu_s: float
    peak_mib: int

    def __str__(self) -> str:
        return f"{self.wall_s:7.2f} s {self.cpu_s:7.2f} s CPU {self.peak_mib:5d} MiB"


def write_people(path: Path, count: int) -> None:
    """A recipient file: distinct numbers of several countries, most of them of the account's."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["phone", "name", "city", "order"])
        writer.writerows(_people(count))


def _people(count: int) -> Iterator[tuple[str, str, str, int]]:
    for index in range(count):
        # Nine of ten are at home; the steps make neighbours differ, as in files of real people.
        place = index % _HOME if index % 10 else _HOME + index // 10 % (len(_RANGES) - _HOME)
        prefix, digits = _RANGES[place]
        number = index * 7_919_731 % 10**digits
        yield f"{prefix}{number:0{digits}d}", _NAMES[index % 10], f"City {index % 997}", index


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end. Raises RuntimeError with what it said where it fails."""
    log = folder / "said.txt"
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(log), *command]
    ended = subprocess.run(launcher, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           check=True, text=True)  # fmt: skip
    status, wall_s, cpu_s, peak_kib = ended.stdout.split()
    if int(status):
        raise RuntimeError(f"{' '.join(command)}: {log.read_text(errors='replace')[-2000:]}")
    return Cost(float(wall_s), float(cpu_s), int(peak_kib) // 1024)


def commands(program: str, folder: Path, account: str, text: str) -> dict[str, list[str]]:
    """The measured commands by name."""
    submit = [program, "campaign", "submit", str(folder / "people.csv"), "--account", account]
    submit += ["--text", text, "--yes"]
    on = {name: [program, "campaign", name, "1"] for name in ("show", "pause", "resume", "cancel")}
    export = [program, "campaign", "export", "1", "-o", str(folder / "out.csv")]
    return {
        **on,
        "dry-run": [*submit, "--dry-run"],
        "submit": submit,
        "list": [program, "campaign", "list"],
        "export": export,
        "export-cancelled": export,
    }


@contextmanager
def _store_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'store.db'}"
        return
    with running_server() as server, server.database() as url:
        upgrade_store(url)
        yield url


def run(
    count: int,
    wanted: Collection[str] = _COMMANDS,
    store: str = "sqlite",
    account: str = "bulk",
    text: str = _TEXTS["personal"],
    program: str = _PROGRAM,
) -> Iterator[tuple[str, Cost]]:
    """Run the wanted commands on a file of `count` recipients; the name and cost of each."""
    with (
        tempfile.TemporaryDirectory(prefix="imports-") as name,
        _store_url(store, Path(name)) as url,
        SimulatorProcess() as simulator,
    ):
        folder = Path(name)
        config = f'[store]\nurl = "{url}"\n' + "".join(
            f'[accounts.{account}]\nprovider = "{provider}"\nsender = "SENDER"\ncountry = "IN"\n'
            f'base_url = "{simulator.base_url(provider)}"\n{keys}\n'
            for account, (provider, keys) in _ACCOUNTS.items()
        )
        (folder / "dispatcher.toml").write_text(config)
        (folder / "dispatcher.toml").chmod(0o600)
        write_people(folder / "people.csv", count)
        words = commands(program, folder, account, text)
        for command in _COMMANDS:
            if command in wanted or (command == "submit" and {*wanted} - {"dry-run"}):
                yield command, measure(words[command], folder)


def main() -> None:
    """Print a line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--only", default="", help="commands, with commas; earlier ones run too")
    parser.add_argument("--text", choices=_TEXTS, default="personal")
    parser.add_argument("--account", choices=_ACCOUNTS, default="bulk")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--program", default=_PROGRAM)
    given = parser.parse_args()
    wanted = set(given.only.split(",")) if given.only else set(_COMMANDS)
    text, program = _TEXTS[given.text], given.program
    for name, cost in run(given.count, wanted, given.store, given.account, text, program):
        print(f"{given.count:9d} {name:<17} {cost}", flush=True)


if __name__ == "__main__":
    main()
