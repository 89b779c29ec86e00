"""`python -m tests.mutants.warm`: runs tests in forks of a process that has imported the libraries.

It runs in a copy of the tree, so the forks import what the copy has at that moment, and so do the
processes that tests start. Each line of the standard input is a job as JSON; each line of the
output says how it went. One PostgreSQL serves all jobs.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from tests.mutants import noting

_LIBRARIES = [
    "aiohttp", "alembic.command", "celery.apps.worker", "celery.bin.celery", "click",
    "hypothesis.stateful", "kombu.transport.redis", "orjson", "phonenumbers", "psycopg",
    "pydantic", "pyroaring", "redis.asyncio", "rich.console", "sqlmodel", "uvloop",
    "sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg",
]  # fmt: skip
_OPTIONS = [
    "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line", "--timeout=120",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
]  # fmt: skip
_PR_SET_CHILD_SUBREAPER = 36


class _Shared:
    """Gives a session the PostgreSQL of this process. Its databases have names of their own."""

    def __init__(self, folder: str, template: str) -> None:
        self._folder, self._template = folder, template

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        from tests.support.postgres_server import PostgresServer  # the copy's

        server = PostgresServer(Path(self._folder))
        server._numbers = iter(f"_{os.getpid()}_{n}" for n in range(1_000_000))
        template = self._template

        fixtures = ModuleType("shared_postgres")
        fixtures.postgres_server = pytest.fixture(scope="session")(lambda: server)
        fixtures.postgres_template = pytest.fixture(scope="session")(lambda: template)
        session.config.pluginmanager.register(fixtures)


class _Watch:
    """Keeps the order and limits of the job, and notes how tests went and which functions ran.

    Unless it traces, the first failure ends the fork: nobody waits for what a mutant left behind.
    """

    def __init__(self, job: dict[str, Any], out: Path) -> None:
        self._limits_s: dict[str, float] = job["tests"]
        self._rank = {test: number for number, test in enumerate(self._limits_s)}
        self._traces: bool = job["traces"]
        self._out = out
        self.touched: defaultdict[str, set[str]] = defaultdict(set)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.passed: set[str] = set()
        self.failed: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._rank:
            items[:] = [item for item in items if item.nodeid in self._rank]
            items.sort(key=lambda item: self._rank[item.nodeid])
        for item in items:
            if item.nodeid in self._limits_s:
                limit = pytest.mark.timeout(self._limits_s[item.nodeid])
                item.add_marker(limit, append=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """End at a failure, before it is described: what a mutant has piled up may be large."""
        if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
            return
        # PostgreSQL's fixtures first drop their database.
        if not self._traces and "[postgres" not in item.nodeid:
            self.seconds[item.nodeid] += call.duration
            self.failed.append(item.nodeid)
            self.end(1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def end(self, code: int) -> None:
        """Write what was seen, and end the fork."""
        seen = {
            "code": code,
            "failed": self.failed,
            "seconds": self.seconds,
            "passed": sorted(self.passed - set(self.failed)),
            "touched": {test: sorted(names) for test, names in self.touched.items()},
        }
        (self._out / "seen.json").write_text(json.dumps(seen))
        os._exit(0)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        if not self._traces:
            return (yield)
        noting.note_into(self.touched[item.nodeid])
        try:
            return (yield)
        finally:
            noting.note_into(set())


def _run(job: dict[str, Any], out: Path, shared: _Shared | None) -> None:
    """The fork: run the tests, and write what was seen."""
    os.setsid()
    with (out / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["TMPDIR"] = tempfile.tempdir = str(out)
    if job["traces"]:
        noting.install()
    watch = _Watch(job, out)
    options = [*_OPTIONS, *([] if job["traces"] else ["-x"])]
    plugins = [watch, *([shared] if shared else [])]
    watch.end(int(pytest.main([*options, *job["files"]], plugins=plugins)))


def _end_descendants() -> None:
    """Kill what a job has left: this process starts nothing else, and orphans come to it."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=10)


def _serve(shared: _Shared | None) -> None:
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            began = time.monotonic()
            pid = os.fork()
            if pid == 0:
                _run(job, Path(folder), shared)
            in_time = _wait(pid, job["limit_s"])
            _end_descendants()
            seen = Path(folder, "seen.json")
            said = json.loads(seen.read_text()) if seen.exists() else {"code": -1, "failed": []}
            said["in_time"] = in_time
            said["took_s"] = time.monotonic() - began
            log = Path(folder, "log")
            said["log"] = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        print(json.dumps(said), flush=True)


def _wait(pid: int, limit_s: float) -> bool:
    """Whether the fork ended within its time; else it is killed."""
    descriptor = os.pidfd_open(pid)
    try:
        ended = bool(select.select([descriptor], [], [], limit_s)[0])
        if not ended:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return ended
    finally:
        os.close(descriptor)


def main() -> None:
    """Import the libraries and work. An argument is the folder and template of a PostgreSQL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in _LIBRARIES:
        importlib.import_module(name)
    print("ready", flush=True)
    _serve(_Shared(*sys.argv[1:3]) if len(sys.argv) > 2 else None)


if __name__ == "__main__":
    main()
