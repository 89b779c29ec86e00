"""The crew: two workers, beat (sometimes two) and the broker, killed, stopped and started again.

Plays the supervisor too: a process that has ended is started again. It knows nothing of campaigns.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dispatcher.local import children
from tests.support import warm
from tests.support.cli import clean_environment
from tests.support.stage import Stage, wait_for

if TYPE_CHECKING:
    from tests.support.warm import Warm

WORKERS = ("w1", "w2")
#: A deploy may take a request's time-out and what is added to it by the deploy files.
_GRACE_S = 40.0


class Crew:
    """The processes over a stage, by name: `w1`, `w2`, `beat`, `beat2`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[str, Warm] = {}
        self._leaving: dict[str, float] = {}
        self._asleep: dict[str, float] = {}
        self._said_before: dict[str, int] = {}
        self._broker_back_at: float | None = None
        #: Exit codes of processes that ended although nothing stopped them.
        self.own_exits: Counter[str] = Counter()

    def start(self, name: str) -> None:
        """Start a worker or a beat."""
        argv = ["-q", "-A", "workers"]
        if name in WORKERS:
            argv += ["worker", "-l", "info", "--without-mingle", "--without-gossip"]
            argv += ["-n", f"{name}@%h"]
        else:
            argv += ["beat", "-l", "info", "--pidfile="]
        self._said_before[name] = self._ready_lines(name)
        self._running[name] = warm.spawn(
            "celery",
            argv,
            folder=self._stage.folder,
            env=clean_environment(self._stage.folder) | self._stage.env,
            out=self._stage.log(name),
        )

    def ready(self) -> list[str]:
        """The workers that take tasks just now."""
        return [
            name
            for name in WORKERS
            if name in self._running
            and name not in self._leaving
            and name not in self._asleep
            and self._ready_lines(name) > self._said_before[name]
        ]

    def _ready_lines(self, name: str) -> int:
        return self._stage.said(name).count(" ready.")

    @property
    def broker_answers(self) -> bool:
        """Whether the broker has not been killed."""
        return self._broker_back_at is None

    def keep_up(self) -> None:
        """Start again who has ended, wake who has slept enough: a supervisor's round."""
        now = time.monotonic()
        if self._broker_back_at is not None and now >= self._broker_back_at:
            self._start_broker()
        for name, until in list(self._asleep.items()):
            if now >= until:
                self._wake(name)
        for name, process in list(self._running.items()):
            if name in self._leaving and now > self._leaving[name]:
                raise RuntimeError(f"{name} does not end {_GRACE_S:.0f} s after SIGTERM")
            if process.poll() is not None:
                if self._leaving.pop(name, None) is None or process.returncode != 0:
                    self.own_exits[f"{name} {process.returncode}"] += 1
                self._asleep.pop(name, None)
                self.start(name)

    def kill(self, name: str) -> None:
        """`kill -9`; the supervisor's next round starts it again."""
        children.kill_child(self._running[name])
        self._asleep.pop(name, None)
        self._leaving.pop(name, None)
        self.start(name)

    def deploy(self, name: str) -> None:
        """SIGTERM; it is started again once it has ended."""
        self._running[name].terminate()
        self._leaving[name] = time.monotonic() + _GRACE_S

    def sleep(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        os.killpg(self._running[name].pid, signal.SIGSTOP)
        self._asleep[name] = time.monotonic() + seconds

    def _wake(self, name: str) -> None:
        del self._asleep[name]
        with suppress(ProcessLookupError):
            os.killpg(self._running[name].pid, signal.SIGCONT)

    def toggle_second_beat(self) -> None:
        """Two schedulers, or one again."""
        if "beat2" in self._running:
            children.kill_child(self._running.pop("beat2"))
        else:
            self.start("beat2")

    def kill_broker(self, seconds: float) -> None:
        """`kill -9` the broker; it is started again, empty, so much later."""
        broker = self._stage.broker
        assert broker is not None
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        wait_for(lambda: not broker.is_alive(), "the broker's end")
        self._broker_back_at = time.monotonic() + seconds

    def _start_broker(self) -> None:
        assert self._stage.broker is not None
        self._stage.broker.start()
        self._broker_back_at = None

    def calm_down(self) -> None:
        """Wake and restart everybody, for the end: one beat, two workers, the broker."""
        if "beat2" in self._running:
            self.toggle_second_beat()
        if self._broker_back_at is not None:
            self._start_broker()
        for name in list(self._asleep):
            self._wake(name)
        self.keep_up()

    def close(self) -> None:
        """Kill everybody."""
        for process in self._running.values():
            children.kill_child(process)


@contextmanager
def crew(stage: Stage) -> Iterator[Crew]:
    """Two workers and beat over a stage, ready."""
    ours = Crew(stage)
    try:
        for name in (*WORKERS, "beat"):
            ours.start(name)
        wait_for(lambda: len(ours.ready()) == len(WORKERS), "the workers")
        yield ours
    finally:
        ours.close()
