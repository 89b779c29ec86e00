"""The gate of submissions: how many at a time, and none while the process drains."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DrainGate:
    """Counts submissions under way, `most` at a time. Thread-safe.

    The other threads are left to ticks, polls and scans. After it was closed none is admitted.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def enter_submission(self) -> Iterator[bool]:
        """Count a submission during the block. Yields whether it may begin."""
        with self._changed:
            may_begin = not self._closed and self._inside < self._most
            self._inside += may_begin
        try:
            yield may_begin
        finally:
            with self._changed:
                self._inside -= may_begin
                self._changed.notify_all()

    def close_and_wait(self, timeout_s: float) -> bool:
        """Admit no further submission, and wait for those under way. False after `timeout_s`."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._inside, timeout_s)
