"""Reads the file of a submission into groups: in this process, or in one forked from it.

Checking rows takes one core, and storing them most of another one while it holds Python's lock for
a part of its time. So a large file is read by a process of its own where there are two cores.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import closing, suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from dispatcher.errors import FileRefused
from dispatcher.recipients.preview import Preview
from dispatcher.submission.request import ValidatedSubmission
from dispatcher.submission.row_groups import GroupPlanner, RowGroup

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: A smaller file is read before another process would have been worth its start.
_LARGE_BYTES: Final = 4 * 1024 * 1024


class _End(NamedTuple):
    """What is known once the whole file is read."""

    preview: Preview
    digest: str
    repeated_headers: list[int]


class _PackedGroup(NamedTuple):
    """A group whose messages have no variables, and those of each batch as the lines of a text.

    The JSON of variables has no line breaks. One text is sent far faster than many.
    """

    group: RowGroup
    variables: list[str | None]

    @classmethod
    def pack(cls, group: RowGroup) -> Self:
        """Take the variables out of a group."""
        columns = [batch.messages.variables for batch in group.batches]
        bare = [
            batch._replace(messages=batch.messages._replace(variables=()))
            for batch in group.batches
        ]
        # All messages of a campaign have some, or none.
        lines = [None if None in each else "\n".join(filter(None, each)) for each in columns]
        return cls(group._replace(batches=bare), lines)

    def unpack(self) -> RowGroup:
        """The group as it was."""
        batches = [
            batch._replace(
                messages=batch.messages._replace(
                    variables=lines.split("\n") if lines else [None] * len(batch.messages.rows)
                )
            )
            for batch, lines in zip(self.group.batches, self.variables, strict=True)
        ]
        return self.group._replace(batches=batches)


_Sent: TypeAlias = _PackedGroup | _End | Exception


class FileReading:
    """One reading of a file: `preview` and `digest` are known once `read_groups` has ended."""

    def __init__(self, submission: ValidatedSubmission, *, may_fork: bool) -> None:
        """`may_fork`: whether another process may read, which has all that this one has."""
        self._submission = submission
        self._may_fork = may_fork
        self.preview = Preview()
        #: See `RowValidator.content_digest`.
        self.digest = ""

    def read_groups(self) -> Generator[RowGroup, None, None]:
        """The rows in groups. Raises Refused for what is wrong with the file."""
        forked = self._fork() if self._may_fork and self._is_worth_it() else None
        with closing(self._read_here() if forked is None else forked.receive()) as received:
            for each in received:
                if isinstance(each, RowGroup):
                    self._submission.file.note_position(each.position)
                    yield each
                else:
                    self.preview, self.digest, self._submission.file.repeated_headers = each

    def _is_worth_it(self) -> bool:
        # What a thread of this process holds at that moment, a forked one holds for ever.
        return (
            sys.platform == "linux"
            and len(os.sched_getaffinity(0)) > 1
            and self._submission.file.size >= _LARGE_BYTES
            and threading.active_count() == 1
        )

    def _fork(self) -> "_ForkedReading | None":
        """Another process that reads; None where this machine allows no further one."""
        self._submission.withheld.load_numbers()
        with suppress(BlockingIOError):
            return _ForkedReading(self)
        return None

    def _read_here(self) -> Generator[RowGroup | _End, None, None]:
        file, validator = self._submission.file, self._submission.row_validator()
        yield from GroupPlanner(self._submission).plan_groups(validator.read_blocks())
        yield _End(validator.preview, validator.content_digest(), file.repeated_headers)

    def send_all(self, connection: "Connection[_Sent, _Sent]") -> None:
        """Send what is read, and what is wrong with it, to the process that wants it."""
        try:
            for each in self._read_here():
                connection.send(_PackedGroup.pack(each) if isinstance(each, RowGroup) else each)
        except Exception as error:  # noqa: BLE001 - the other process says what it is
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            connection.send(error)


class _ForkedReading:
    """The process that reads; it has no connection, no lock and no thread of this one."""

    def __init__(self, reading: FileReading) -> None:
        context = get_context("fork")
        received, sent = context.Pipe(duplex=False)
        self._received: Connection[_Sent, _Sent] = received
        self._process = context.Process(target=self._run, args=(reading, sent), daemon=True)
        # Python drops what Ctrl-C raises around a fork: it waits until both processes listen.
        ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        former = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        try:
            self._process.start()
        except BaseException:
            self._received.close()
            raise
        finally:
            sent.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def _run(self, reading: FileReading, sent: "Connection[_Sent, _Sent]") -> None:
        self._received.close()  # else nothing would tell it that the other process is gone
        for number in (signal.SIGINT, signal.SIGHUP):  # the other process decides
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(BrokenPipeError):
            reading.send_all(sent)

    def receive(self) -> Generator[RowGroup | _End, None, None]:
        """What the process sends; it ends with this iterator."""
        try:
            is_over = False
            while not is_over:
                each = self._received.recv()
                if isinstance(each, Exception):
                    raise each
                is_over = isinstance(each, _End)
                yield each.unpack() if isinstance(each, _PackedGroup) else each
        except EOFError:
            self._process.join()
            raise FileRefused(
                f"the process that read the file ended with {self._process.exitcode}",
                "nothing was kept: see whether this machine has memory left, and submit again",
            ) from None
        finally:
            self._received.close()
            self._process.kill()
            self._process.join()
