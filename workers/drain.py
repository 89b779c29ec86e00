"""Draining a process: no new submission begins, and those under way are waited for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DrainGate:
    """Counts submissions under way, and lets no new one begin once this process is to end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def enter_submission(self) -> Iterator[bool]:
        """Whether the work in the block may begin."""
        with self._changed:
            may_begin = not self._closed
            self._inside += may_begin
        try:
            yield may_begin
        finally:
            with self._changed:
                self._inside -= may_begin
                self._changed.notify_all()

    def close_and_wait(self, timeout_s: float) -> bool:
        """Let nobody in any more, and wait until all are out; False where they were too slow."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._inside, timeout_s)
