"""Runs child processes in the foreground: shows their output, restarts them, ends them in order.

`cli/up.py` and `demo` decide which ones.
"""

import re
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from dispatcher.error_codes import ErrorCode
from dispatcher.errors import DispatcherError
from dispatcher.local import children
from dispatcher.local.signals import InterruptCounter
from dispatcher.logs.console import Console
from dispatcher.logs.events import LogEvent

_PASS_S = 0.2
_EXITS, _WITHIN_S = 5, 30.0
_LONGEST_DELAY_S = 10.0
# A grandchild may still write to the pipe of a child that has ended.
_LAST_READS = 16


class ChildFailed(DispatcherError):
    """A child ends again and again; the message has its last lines."""

    error_code = ErrorCode.PROCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program to run, and how to start and end it."""

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str] | None = None
    #: It is ready when a line of its output matches; without a pattern as soon as it runs.
    ready_pattern: str | None = None
    #: Lines that match are not shown.
    hide: str | None = None
    #: Seconds between SIGTERM and SIGKILL.
    grace_s: float = 10.0
    #: Children of a lower wave are ended first, all of one wave together.
    wave: int = 0


@dataclass(slots=True)
class _ChildState:
    """A child over all its restarts; `process` and `lines` are those of the present process."""

    child: Child
    process: subprocess.Popen[bytes]
    lines: children.OutputLines
    ready: bool
    running: bool = True
    start_at: float = 0.0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=15))
    exits: deque[float] = field(default_factory=lambda: deque(maxlen=_EXITS))


class Supervisor:
    """Runs children of this process until a signal ends them.

    ```python
    with Supervisor(TextConsole(print)) as supervisor:
        supervisor.add_child(Child(name="worker", argv=[…], ready_pattern=r" ready\\.$"))
        supervisor.run_until(lambda: supervisor.are_ready("worker"))
        supervisor.run_until(lambda: False)  # until Ctrl-C
    ```
    Use it in the main thread. On exit every child is ended; a second Ctrl-C kills what is left.
    """

    def __init__(self, console: Console, *, first_delay_s: float = 0.5) -> None:
        self._console = console
        self._first_delay_s = first_delay_s
        self._lives: dict[str, _ChildState] = {}
        self._pipes = selectors.DefaultSelector()
        self._interrupts = InterruptCounter()
        self._nobody_listens = False

    def add_child(self, child: Child) -> None:
        """Start `child`; whenever it ends, it is started again after a growing delay."""
        process, lines = self._spawn_child(child)
        self._lives[child.name] = _ChildState(child, process, lines, child.ready_pattern is None)

    def are_ready(self, *names: str) -> bool:
        """Whether all children with these names run and are ready."""
        return all(self._lives[name].ready for name in names)

    def run_until(self, done: Callable[[], bool]) -> bool:
        """Show output and restart children until `done()` is true; calls it five times a second.

        Returns False if a signal asked to end. Raises ChildFailed for a child that has ended 5
        times within 30 s.
        """
        while not (self._interrupts.count or self._nobody_listens):
            if done():
                return True
            self._show_output(_PASS_S)
            for life in self._lives.values():
                if not life.running and time.monotonic() >= life.start_at:
                    life.process, life.lines = self._spawn_child(life.child)
                    life.running, life.ready = True, life.child.ready_pattern is None
                elif life.running and life.process.poll() is not None:
                    self._plan_restart(life)
        return False

    def stop(self) -> None:
        """End all children, one wave after another. May be called twice."""
        running = [life for life in self._lives.values() if life.running]
        running.sort(key=lambda life: life.child.wave)
        for _, wave in groupby(running, key=lambda life: life.child.wave):
            self._end_wave(list(wave))
        self._lives.clear()

    def _end_wave(self, wave: list[_ChildState]) -> None:
        began = time.monotonic()
        for life in wave:
            life.process.terminate()
        while any(life.running for life in wave):
            self._show_output(0.02)
            late_by = time.monotonic() - began
            for life in wave:
                if life.running and life.process.poll() is not None:
                    self._close_ended(life)
                elif life.running and (self._interrupts.count > 1 or late_by > life.child.grace_s):
                    words = f"{life.child.name} was killed: it did not end in time"
                    self._announce(LogEvent.PROCESS_KILLED, words)
                    children.kill_child(life.process)

    def _spawn_child(self, child: Child) -> tuple[subprocess.Popen[bytes], children.OutputLines]:
        process = children.spawn_child(child.argv, output=subprocess.PIPE, env=child.env)
        assert process.stdout is not None
        self._pipes.register(process.stdout, selectors.EVENT_READ, child.name)
        return process, children.OutputLines(process.stdout)

    def _plan_restart(self, life: _ChildState) -> None:
        self._close_ended(life)
        now, name = time.monotonic(), life.child.name
        life.exits.append(now)
        recent = sum(now - at < _WITHIN_S for at in life.exits)
        if recent == _EXITS:
            said = "".join(f"\n  {line}" for line in life.tail)
            raise ChildFailed(f"{name} ended {_EXITS} times within {_WITHIN_S:.0f} s:{said}")
        delay_s = min(self._first_delay_s * 2.0 ** (recent - 1), _LONGEST_DELAY_S)
        life.start_at = now + delay_s
        status = life.process.returncode
        words = f"{name} ended (status {status}), restart in {delay_s:.1f} s"
        self._announce(LogEvent.PROCESS_ENDED, words)

    def _close_ended(self, life: _ChildState) -> None:
        """Show the last output of a child that has ended, and close its pipe."""
        for _ in range(_LAST_READS):
            if not self._read_output(life):
                break
        if life.lines.pipe in self._pipes.get_map():
            self._pipes.unregister(life.lines.pipe)
        life.lines.pipe.close()
        life.running = life.ready = False

    def _show_output(self, timeout_s: float) -> None:
        if not self._pipes.get_map():
            time.sleep(timeout_s)
        for key, _ in self._pipes.select(timeout_s):
            if not self._read_output(self._lives[key.data]):
                # The child has closed its end of the pipe, but may still run.
                self._pipes.unregister(key.fileobj)

    def _read_output(self, life: _ChildState) -> bool:
        child = life.child
        lines, more = life.lines.read_lines()
        for line in lines:
            life.tail.append(line)
            if child.ready_pattern and re.search(child.ready_pattern, line):
                life.ready = True
            if not (child.hide and re.search(child.hide, line)):
                with self._listened():
                    self._console.show_line(child.name, line)
        return more

    def _announce(self, event: LogEvent, words: str) -> None:
        with self._listened():
            self._console.announce(event, words)

    @contextmanager
    def _listened(self) -> Iterator[None]:
        """Write in the block, unless nobody reads our output any more (`| head`).

        Then this ends as for a signal.
        """
        try:
            yield
        except OSError:
            self._nobody_listens = True

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._pipes.close()
            self._interrupts.__exit__(kind, error, trace)
