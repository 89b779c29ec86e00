"""The signals that ask this process to end: counted, so that it can finish its work first."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self


def end_by_sigterm_from_now(*, pid: int | None = None) -> None:
    """Let SIGTERM end this process if it is the first one of a container.

    For that one the kernel ignores the signal until somebody listens: it would be killed only after
    its stop grace. `pid`: its number; None: as it is. Main thread only.
    """
    if (os.getpid() if pid is None else pid) == 1:
        signal.signal(signal.SIGTERM, _end_process)


def _end_process(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


#: The last signal that asked this process to end.
_last_signals: Final = [signal.SIGINT]


def last_signal() -> signal.Signals:
    """The last signal that asked this process to end; SIGINT until one came."""
    return _last_signals[-1]


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP do from now on what Ctrl-C does. Main thread only.

    One that is ignored stays so: under nohup a command outlives its terminal.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _last_signals[:] = [signal.Signals(number)]
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
    else:  # ignored, as in a shell's background job
        raise KeyboardInterrupt


class NotedInterrupts:
    """In its `with` block Ctrl-C is noted as well as raised. Main thread only.

    Python drops what is raised in a destructor, and in what runs around a fork.
    """

    def __init__(self) -> None:
        self._is_noted = False
        self._is_ours = False

    def raise_noted(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, whatever became of it."""
        if self._is_noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_noted = True
        signal.default_int_handler(number, frame)

    def __enter__(self) -> Self:
        # As under nohup, and where somebody else listens, it stays as it is.
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class InterruptCounter:
    """In its `with` block SIGINT, SIGTERM and SIGHUP only increase `count`. Main thread only."""

    def __init__(self) -> None:
        self.count = 0
        self._former: dict[int, Any] = {}

    def _count_signal(self, number: int, _frame: object) -> None:
        self.count += 1
        _last_signals[:] = [signal.Signals(number)]

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._former[number] = signal.signal(number, self._count_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._former:
            signal.signal(*self._former.popitem())
