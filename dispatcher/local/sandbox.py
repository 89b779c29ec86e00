"""A dispatcher of its own in a temporary folder, for the demo and for rehearsals.

Broker, simulator and Celery processes run as children. The configured store, broker and accounts
take no part, and nothing is left at the end.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypedDict

from dispatcher.config.settings import Settings
from dispatcher.error_codes import ErrorCode
from dispatcher.errors import DispatcherError
from dispatcher.local import celery
from dispatcher.local.broker import EmbeddedBroker
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.logs.console import TextConsole
from dispatcher.urls import sqlite_url

LONGEST_S: Final = 90.0
_PREFIX: Final = "DISPATCHER_"
_KEPT: Final = frozenset({"DISPATCHER_DEBUG"})
_SHOWN_LINES: Final = 15


class SandboxFailed(DispatcherError):
    """The processes of a demo or a rehearsal did not get on; the message has their last lines."""

    error_code = ErrorCode.PROCESS


class LedgerEntry(TypedDict):
    """What is read of an entry in the simulator's ledger; `at` is a Unix time in seconds.

    Entries of one request have the same `request`.
    """

    request: int
    number: str
    text: str
    at: float


class Sandbox:
    """A folder with processes that work in it; `log` holds the lines that they printed."""

    def __init__(
        self,
        what: str,
        folder: Path,
        supervisor: Supervisor,
        broker: EmbeddedBroker,
        log: list[str],
    ) -> None:
        self.folder = folder
        self.log = log
        self.began_at = time.time()
        self._what = what
        self._supervisor = supervisor
        self._broker = broker
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    @property
    def store_url(self) -> str:
        """The store of its own."""
        return sqlite_url(f"{self.folder}/sandbox.db")

    def wait_until(
        self, until: Callable[[], bool], what: str, longest_s: float = LONGEST_S
    ) -> None:
        """Run the processes until `until` is true.

        Raises SandboxFailed after `longest_s`, and KeyboardInterrupt on Ctrl-C.
        """
        give_up = time.monotonic() + longest_s

        def done() -> bool:
            self._broker.restart_if_dead()
            return until() or time.monotonic() > give_up

        if not self._supervisor.run_until(done):
            raise KeyboardInterrupt
        if not until():
            said = "".join(f"\n  {line}" for line in self.log[-_SHOWN_LINES:])
            raise SandboxFailed(
                f"the {self._what} waited {longest_s:.0f} s for {what}; its last lines:{said}"
            )

    def start_simulator(self, options: Sequence[str]) -> Mapping[str, str]:
        """Start the simulator; returns the base URL of each simulated provider."""
        command = [sys.executable, "-m", "dispatcher", "simulator", "--json"]
        # A fixed port: if it is killed, its successor listens at the same place.
        argv = [*command, f"--port={_free_port()}", f"--ledger={self.folder}/ledger.jsonl"]
        self._supervisor.add_child(
            Child(name="simulator", argv=[*argv, *options], ready_pattern='"base_urls"', wave=3)
        )
        self.wait_until(lambda: self._supervisor.are_ready("simulator"), "the simulator")
        ready = next(line for line in self.log if '"base_urls"' in line)
        urls: dict[str, str] = json.loads(ready.partition("| ")[2])["base_urls"]
        return urls

    def start_workers(self, settings: Settings) -> None:
        """Start a worker and the scheduler with a configuration in this folder."""
        for child in celery.celery_children(settings, self._broker.url):
            self._supervisor.add_child(child)

    def start_flower(self, settings: Settings) -> str:
        """Start Flower once the worker is ready; returns its address."""
        self.wait_until(lambda: self._supervisor.are_ready("worker"), "the worker")
        port = celery.find_flower_port(None)
        self._supervisor.add_child(celery.flower_child(settings, self._broker.url, port))
        self.wait_until(lambda: celery.is_listening(port), "Flower")
        return f"http://127.0.0.1:{port}"

    def read_ledger(self) -> Iterator[LedgerEntry]:
        """What the simulated provider accepted, one entry per recipient."""
        with (self.folder / "ledger.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                entry: LedgerEntry = json.loads(line)
                yield entry


@contextmanager
def running_sandbox(what: str) -> Iterator[Sandbox]:
    """A sandbox for `what`; on exit its processes are ended and its folder is removed.

    Meanwhile this process and its children see none of the program's environment variables.
    """
    log: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_private_environment())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=f"dispatcher-{what}-")))
        # Keeps the mark file of the store out of the user's state folder.
        os.environ["XDG_STATE_HOME"] = str(folder)
        broker = stack.enter_context(EmbeddedBroker(folder / "broker" / "broker.sock"))
        supervisor = stack.enter_context(Supervisor(TextConsole(log.append)))
        yield Sandbox(what, folder, supervisor, broker, log)


@contextmanager
def _private_environment() -> Iterator[None]:
    """Without the variables that name a configured store, broker or account, until the end."""
    former = dict(os.environ)
    for name in former:
        if name.startswith(_PREFIX) and name not in _KEPT:
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
