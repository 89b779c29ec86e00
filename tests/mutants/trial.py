"""Tries mutants: each in a copy of the tree, by tests in forks of a warm process."""

import json
import math
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.mutants.chosen import ROOT, wider_files
from tests.mutants.operators import Mutant
from tests.mutants.reach import Reach, Users

_COPIED = ("dispatcher", "workers", "tests", "deploy")
_COPIED_FILES = ("pyproject.toml", "README.md", "Makefile")
#: A test may take this long, whatever it took before, and so many times that, at the most so many
#: seconds. A mutant that makes a test wait for ever is noticed by that.
_LEAST_S, _TIMES, _MOST_S = 20.0, 10.0, 120.0
#: A whole job: only what no signal can end takes as long.
_JOB_S, _WIDER_S = 900.0, 900.0
#: A failure that came sooner is the mutant's. Other work on the machine may have made a longer test
#: fail, so that is asked again without the mutant.
_SURE_S = 1.0
#: Most mutants are noticed by one of so many tests of so many files.
_FIRST_TESTS, _FIRST_FILES = 25, 2
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Trial:
    """How a mutant fared. `killed_by` is a test, or a reason in words; None: it survived."""

    mutant: Mutant
    killed_by: str | None
    tests: int
    took_s: float


class Bench:
    """A copy of the tree, and the warm process that runs tests in it."""

    def __init__(self, folder: Path, postgres: Sequence[str]) -> None:
        self._root = folder
        for name in _COPIED:
            ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in _COPIED_FILES:
            shutil.copy2(ROOT / name, folder / name)
        env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
        env.pop("PYTEST_CURRENT_TEST", None)
        self._log = (folder / "warm.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.warm", *postgres],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._edits = 0
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = (self._root / "warm.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the warm process ended: {said}")
        return line

    def run(
        self,
        files: Iterable[str],
        tests: Mapping[str, float] | None = None,
        *,
        limit_s: float,
        traces: bool = False,
    ) -> dict[str, Any]:
        """Run the tests of `files`, or only `tests` of them, in that order; what was seen.

        `tests` has the seconds that each may take.
        """
        job = {"files": [*files], "tests": tests or {}, "limit_s": limit_s, "traces": traces}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        seen: dict[str, Any] = json.loads(self._read())
        return seen

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """The copy has this mutant meanwhile."""
        path = self._root / mutant.path
        before = path.read_bytes()
        self._write(path, mutant.apply_to(before))
        try:
            yield
        finally:
            self._write(path, before)

    def _write(self, path: Path, source: bytes) -> None:
        """With a time that no compiled file has: Python compares time and size only."""
        path.write_bytes(source)
        self._edits += 1
        os.utime(path, (1_000_000_000 + self._edits,) * 2)

    def close(self) -> None:
        """End the process, and what it has started."""
        process = psutil.Process(self._process.pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        with self._process:  # waits, and closes the pipes
            self._log.close()


@contextmanager
def open_benches(count: int, *, with_postgres: bool = True) -> Iterator[list[Bench]]:
    """Some benches with one PostgreSQL, where it runs."""
    with ExitStack() as stack:
        postgres = stack.enter_context(_postgres()) if with_postgres else []
        benches = []
        for _ in range(count):
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True)
            )
            Path(folder).chmod(0o755)
            benches.append(bench := Bench(Path(folder), postgres))
            stack.callback(bench.close)
        yield benches


@contextmanager
def _postgres() -> Iterator[list[str]]:
    from dispatcher.store.migrate import upgrade_store
    from tests.support.postgres_server import running_server
    from tests.support.transition_guard import install_guard

    with running_server() as server, server.database() as url:
        upgrade_store(url)
        install_guard(url)
        yield [str(server.folder), url.partition("@/")[2].partition("?")[0]]


def spread(
    benches: Sequence[Bench], items: Iterable[_Item], work: Callable[[Bench, _Item], None]
) -> None:
    """Do `work` for every item, one at a time on each bench. Raises what it raises."""
    waiting: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    errors: list[BaseException] = []

    def go(bench: Bench) -> None:
        try:
            while not errors:
                work(bench, waiting.get_nowait())
        except queue.Empty:
            pass
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=go, args=(bench,), daemon=True) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def try_mutant(
    bench: Bench,
    mutant: Mutant,
    reach: Reach,
    users: Users,
    *,
    goes_wider: bool,
    most_s: float = math.inf,
) -> Trial:
    """Ask the tests that run into a mutant, as many as last `most_s`, then the wider ones."""
    began = time.monotonic()
    asked = reach.tests_of(mutant, users)
    until_s = accumulate(reach.seconds[test] for test in asked)
    tests = {
        test: min(_MOST_S, _LEAST_S + _TIMES * reach.seconds[test])
        for test, last_s in zip(asked, until_s, strict=True)
        if last_s <= most_s
    }
    killer = None
    for some in _in_stages(tests):
        if killer is None:
            killer = _find_killer(bench, mutant, files_of(some), some, limit_s=_JOB_S)
    if killer is None and goes_wider and (files := wider_files(mutant)):
        killer = _find_killer(bench, mutant, files, None, limit_s=_WIDER_S)
    return Trial(mutant, killer, len(tests), time.monotonic() - began)


def _in_stages(tests: dict[str, float]) -> list[dict[str, float]]:
    """The fastest tests of few files, then the others: loading many files takes long."""
    near = files_of(tests)[:_FIRST_FILES]
    first = [test for test in tests if test.partition("::")[0] in near][:_FIRST_TESTS]
    stages = (first, [test for test in tests if test not in first])
    return [{test: tests[test] for test in stage} for stage in stages if stage]


def _find_killer(
    bench: Bench,
    mutant: Mutant,
    files: list[str],
    tests: dict[str, float] | None,
    *,
    limit_s: float,
) -> str | None:
    """What notices the mutant, and passes in time without it on the machine as it is now."""
    while True:
        with bench.mutated(mutant):
            seen = bench.run(files, tests, limit_s=limit_s)
        killer = killer_in(seen)
        if killer is None:
            return None
        if not seen["failed"]:
            again = bench.run(files, tests, limit_s=limit_s) if not seen["in_time"] else None
            return killer if again is None or again["in_time"] else None
        if seen["seconds"][killer] < _SURE_S:
            return killer
        alone = {killer: (tests or {}).get(killer, _MOST_S)}
        if killer_in(bench.run(files_of(alone), alone, limit_s=limit_s)) is None:
            return killer
        if tests is None:  # a wider file; nothing is proven, so it counts as survived
            return None
        tests = {test: limit for test, limit in tests.items() if test != killer}
        files = files_of(tests)
        if not tests:
            return None


def killer_in(seen: dict[str, Any]) -> str | None:
    """What noticed; None where all tests passed."""
    if seen["failed"]:
        return str(seen["failed"][0])
    if not seen["in_time"]:
        return "its tests do not end"
    return None if seen["code"] in {0, 5} else "its tests do not start"


def files_of(tests: Iterable[str]) -> list[str]:
    """The files of tests, each once."""
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))
