"""What a command costs before it does anything: processor and wall time of whole processes.

    python -m tests.benchmarks.startup [--times 9]

The median and the least of several runs, beside an empty Python and the libraries that reading
commands need. Modules are compiled before, as an installation does.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from dispatcher.store.migrate import upgrade_store

#: At most so much processor time, as the least of all runs.
LIMITS_MS = {
    "--help": 100.0,
    "campaign list": 350.0,
    "campaign show 1": 350.0,
    "account list": 350.0,
}
_COMPARED = {
    "python -c pass": "pass",
    "import click": "import click",
    "import pydantic": "from pydantic import BaseModel, Field",
    "import sqlalchemy": "import sqlalchemy",
}


def _run(code: list[str], folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """Processor and wall time of one process, in ms."""
    words = [sys.executable, *code]
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    started = time.perf_counter()
    previous = Path.cwd()
    os.chdir(folder)
    try:
        pid = os.posix_spawn(sys.executable, words, env, file_actions=quiet)
    finally:
        os.chdir(previous)
    _pid, _status, used = os.wait4(pid, 0)
    return (used.ru_utime + used.ru_stime) * 1000, (time.perf_counter() - started) * 1000


def _prepare(folder: Path) -> dict[str, str]:
    """A folder with a configuration and a store with a campaign; the environment for commands."""
    config = folder / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(
        '[accounts.main]\nprovider = "thesmspoint"\napi_key = "a-key-of-a-test"\n'
        'sender = "SENDER"\ntemplate = "TEMPLATE"\ncountry = "IN"\n'
    )
    upgrade_store(f"sqlite:///{folder / 'dispatcher.db'}")
    (folder / "people.csv").write_text("phone\n919820011223\n919820011224\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DISPATCHER_", "PYTHON"))}
    env |= {"PYTHONPATH": str(Path.cwd()), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    submit = "campaign submit people.csv --account main --text Hello --start-at 2099-01-01T00:00Z"
    _run(["-m", "dispatcher", *submit.split()], folder, env | {"HOME": str(folder)})
    return env | {"HOME": str(folder)}


def run(times: int) -> list[dict[str, tuple[float, float]]]:
    """Processor and wall time of each process in ms, by name, of each of the runs."""
    codes = {name: ["-c", code] for name, code in _COMPARED.items()}
    codes |= {name: ["-m", "dispatcher", *name.split()] for name in LIMITS_MS}
    with tempfile.TemporaryDirectory(prefix="startup-") as made:
        folder = Path(made)
        env = _prepare(folder)
        for code in codes.values():
            _run(code, folder, env)
        # In turn, so that a busy minute of the machine is everybody's.
        return [
            {name: _run(code, folder, env) for name, code in codes.items()} for _ in range(times)
        ]


def main() -> int:
    """Print a line for each; 1 where a command costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    taken = run(times)
    missed = 0
    print(f"{'':20} {'CPU ms, median':>15} {'least':>6} {'wall ms, median':>16} {'may be':>7}")
    for name in taken[0]:
        processor = [runs[name][0] for runs in taken]
        wall = statistics.median(runs[name][1] for runs in taken)
        limit = LIMITS_MS.get(name)
        missed += limit is not None and min(processor) > limit
        may = "" if limit is None else f"{limit:.0f}"
        middle = statistics.median(processor)
        print(f"{name:20} {middle:15.0f} {min(processor):6.0f} {wall:16.0f} {may:>7}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
