"""The accepted recipients as JSON Lines, written before the answer leaves, and an index to them.

Memory holds 32 bytes per request and a compressed bitmap of numbers; texts are in the file only.
"""

import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NotRequired, TypedDict

import orjson
from pyroaring import BitMap64

from dispatcher.errors import DispatcherError

_CHUNK: Final = 256 * 1024
_KEPT_DOUBLES: Final = 1000


class LedgerRow(TypedDict):
    """One accepted recipient; the fields that a request may lack are those of its provider."""

    at: float
    provider: str
    request: int
    number: str
    text: str
    message_id: str
    sender_id: str
    schedule_time: NotRequired[str]
    delivery_date: NotRequired[str]


class Ledger:
    """Accepted recipients in order. Jobs (requests) and messages have serials from 0."""

    def __init__(self, path: Path | None) -> None:
        """Append to `path`, or to a temporary file without one. Raises DispatcherError."""
        try:
            self._file: BinaryIO = path.open("a+b") if path else tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the ledger
        except OSError as error:
            raise DispatcherError(
                f"the ledger {path} cannot be written: {error.strerror}", "give another --ledger"
            ) from error
        self._end = self._run_start = os.fstat(self._file.fileno()).st_size
        self._job_at = array("d")
        self._job_offset = array("Q")
        self._job_end = array("Q")
        self._job_first_message = array("Q")
        self.next_message = 0
        self.begin_run()

    def begin_run(self) -> None:
        """Forget the numbers and start the run's view of the file here; jobs stay known."""
        self._run_start = self._end
        self._seen = BitMap64()
        self.accepted = 0
        self.doubles = 0
        self.doubled_numbers: list[int] = []

    @property
    def next_job(self) -> int:
        """The serial that the next accepted request gets."""
        return len(self._job_at)

    @property
    def distinct_numbers(self) -> int:
        """Different numbers accepted in this run, over all providers."""
        return len(self._seen)

    def append_request(
        self,
        at: float,
        common: Mapping[str, object],
        numbers: Sequence[int],
        rows: Sequence[Mapping[str, str]],
    ) -> None:
        """Store a request accepted at `at` (Unix time), with a row for each of `numbers`.

        Each row in the file has the fields `at` and `common` as well.

        The rows are handed to the kernel before this returns, so that they survive the process.
        """
        head = orjson.dumps({"at": at, **common})[:-1] + b","  # once for all recipients
        lines = b"".join([head + orjson.dumps(row)[1:] + b"\n" for row in rows])
        self._file.write(lines)
        self._file.flush()
        self._job_at.append(at)
        self._job_offset.append(self._end)
        self._end += len(lines)
        self._job_end.append(self._end)
        self._job_first_message.append(self.next_message)
        self.next_message += len(rows)
        self._count_numbers(numbers)

    def _count_numbers(self, numbers: Sequence[int]) -> None:
        fresh = BitMap64(numbers)
        self.accepted += len(numbers)
        repeated = len(numbers) - len(fresh) + self._seen.intersection_cardinality(fresh)
        if repeated:
            self.doubles += repeated
            self._keep_doubled(numbers)
        self._seen.update(numbers)

    def _keep_doubled(self, numbers: Sequence[int]) -> None:
        met = set[int]()
        for number in numbers:
            if len(self.doubled_numbers) >= _KEPT_DOUBLES:
                return
            if number in self._seen or number in met:
                self.doubled_numbers.append(number)
            met.add(number)

    def find_job(self, serial: int) -> tuple[float, list[LedgerRow]] | None:
        """When request `serial` arrived, and its recipients' rows; None where unknown."""
        if not 0 <= serial < self.next_job:
            return None
        offset, end = self._job_offset[serial], self._job_end[serial]
        lines = os.pread(self._file.fileno(), end - offset, offset)
        rows: list[LedgerRow] = orjson.loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]")
        return self._job_at[serial], rows

    def find_message(self, serial: int) -> LedgerRow | None:
        """The row of message `serial`; None where unknown."""
        if not 0 <= serial < self.next_message:
            return None
        job = bisect_right(self._job_first_message, serial) - 1
        found = self.find_job(job)
        return found[1][serial - self._job_first_message[job]] if found else None

    def stream_rows(self) -> Iterator[bytes]:
        """The run's rows as JSON Lines, in pieces."""
        offset, end = self._run_start, self._end
        while offset < end:
            piece = os.pread(self._file.fileno(), min(_CHUNK, end - offset), offset)
            offset += len(piece)
            yield piece

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()
