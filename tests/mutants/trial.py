"""Tries mutants: each in a copy of the tree, by tests in forks of a warm process."""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.mutants.chosen import ROOT, wider_files
from tests.mutants.operators import Mutant
from tests.mutants.reach import Reach, Users

_COPIED = ("dispatcher", "workers", "tests", "deploy")
_COPIED_FILES = ("pyproject.toml", "README.md", "Makefile")
#: A job may take this long, whatever its tests took before, and so many times that, at the most so
#: many seconds. A mutant that makes a test wait for ever is noticed by that.
_LEAST_S, _TIMES, _MOST_S = 45.0, 4.0, 400.0
_WIDER_S = 600.0
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
        tests: Sequence[str] = (),
        *,
        limit_s: float,
        traces: bool = False,
    ) -> dict[str, Any]:
        """Run the tests of `files`, or only `tests` of them, in that order; what was seen."""
        job = {"files": [*files], "tests": [*tests], "limit_s": limit_s, "traces": traces}
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
    bench: Bench, mutant: Mutant, reach: Reach, users: Users, *, goes_wider: bool
) -> Trial:
    """Ask the tests that run into a mutant, then the wider ones."""
    tests = reach.tests_of(mutant, users)
    took_s = 0.0
    with bench.mutated(mutant):
        if tests:
            known_s = sum(reach.seconds[test] for test in tests)
            limit_s = min(_MOST_S, _LEAST_S + _TIMES * known_s)
            seen = bench.run(files_of(tests), tests, limit_s=limit_s)
            took_s += seen["took_s"]
            if killer := killer_in(seen):
                return Trial(mutant, killer, len(tests), took_s)
        if goes_wider and (files := wider_files(mutant)):
            seen = bench.run(files, limit_s=_WIDER_S)
            took_s += seen["took_s"]
            if killer := killer_in(seen):
                return Trial(mutant, killer, len(tests), took_s)
    return Trial(mutant, None, len(tests), took_s)


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
