"""Standard output and error: what a command did is said, also where nobody reads its output.

A reader such as `head` may end before a command does, a disk may be full, a terminal may be gone.
Then a command that only prints ends. One that changes something goes on, and says the rest on
standard error: whether a campaign is submitted must not depend on who reads.
"""

import io
import os
import select
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOTE: Final = "\nStandard output cannot be written ({}): what follows is shown here.\n"
#: Commands that print and change nothing, or that look after their output themselves.
_PRINTING: Final = frozenset(
    {
        "dispatcher audit", "dispatcher doctor", "dispatcher metrics", "dispatcher rehearse",
        "dispatcher up", "account balance", "account check", "account list", "account senders",
        "account templates", "campaign export", "campaign failures", "campaign find",
        "campaign list", "campaign report", "campaign show", "campaign watch", "db current",
        "notify list", "receiver replies", "suppression check", "suppression export",
        "suppression list",
    }
)  # fmt: skip


class _Output(io.RawIOBase):
    """A file's number, and those to write to when it cannot be written any more."""

    def __init__(self, numbers: Sequence[int], *, former: io.TextIOWrapper) -> None:
        self._numbers = [*numbers]
        self._former = former  # which closes the file once nobody has it
        self.keeps = False

    def writable(self) -> bool:
        """It is only written."""
        return True

    def fileno(self) -> int:
        """The file that is written now."""
        return self._numbers[0] if self._numbers else self._former.fileno()

    def isatty(self) -> bool:
        """Whether that is a terminal."""
        return os.isatty(self.fileno())

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write some of the bytes; with `keeps`, somewhere, or nowhere."""
        while self._numbers:
            try:
                return os.write(self._numbers[0], data)
            except BlockingIOError:
                select.select([], self._numbers[:1], [])
            except OSError as error:
                if not self.keeps:
                    self._numbers.clear()  # said once: what is left to flush is dropped
                    raise
                self._leave_file(error)
        return memoryview(data).nbytes

    def _leave_file(self, error: OSError) -> None:
        del self._numbers[0]
        if self._numbers:
            words = os.strerror(error.errno or 0).lower()
            self.write(_NOTE.format(words).encode())


_outputs: list[_Output] = []


def open_outputs() -> None:
    """Make this process's standard output and error such that `keep_outcome` can keep them."""
    out, err = _number_of(sys.stdout), _number_of(sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper) and out is not None:
        sys.stdout = _open_output(sys.stdout, out, *(() if err is None else (err,)))
    if isinstance(sys.stderr, io.TextIOWrapper) and err is not None:
        sys.stderr = _open_output(sys.stderr, err)


def _number_of(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except OSError:  # it is in memory
        return None


def _open_output(former: io.TextIOWrapper, *numbers: int) -> io.TextIOWrapper:
    output = _Output(numbers, former=former)
    _outputs.append(output)
    return io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=former.encoding,
        errors=former.errors,
        line_buffering=former.line_buffering,
        write_through=former.write_through,
    )


def keep_outcome() -> None:
    """From here on, what cannot be written to standard output goes to standard error.

    What cannot be written there either is dropped: the exit code says what happened.
    """
    for output in _outputs:
        output.keeps = True
    if _outputs and sys.stdout is None:  # closed before the command began
        sys.stdout = sys.stderr


def keeping_outcome(path: str, callback: Callable[..., object]) -> Callable[..., object]:
    """The callback of the command `campaign submit`, or such; with its outcome kept if it needs."""
    if path in _PRINTING:
        return callback

    @wraps(callback)
    def run(*args: object, **given: object) -> object:
        keep_outcome()
        return callback(*args, **given)

    return run
