"""Writers' turns: threads of this process in the order they came, then processes one by one.

An flock alone is won by whoever polls at the right moment: with a few dozen threads some of them
wait for seconds. So only the first in line polls it, and not before it holds a second one, for who
is next: a process that comes again at once finds that taken, and cannot overtake.

To be handed from one process to another takes longer than many a transaction, so that a process
serves its own line for some milliseconds before it lets another one in.
"""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from dispatcher.errors import StoreError

_PAUSE_S: Final = 0.0005
#: What other processes wait for at most, besides the transaction that runs then.
_OWN_TURNS_S: Final = 0.01


class WriterQueue:
    """The threads of this process that want to write a store, and the lock that keeps others out.

    It is handed on, with the files locked, in the order in which it was asked for.
    """

    def __init__(self, path: str) -> None:
        self._files = lock_files(path)
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_held = False
        #: The locked file, and since when; None while other processes may write.
        self._locked: ExitStack | None = None
        self._locked_at = 0.0

    def __len__(self) -> int:
        """How many threads wait."""
        return len(self._waiting)

    def acquire_lock(self, wait_s: float) -> None:
        """Wait for the turn. Raises TimeoutError, and OSError for the files."""
        give_up = time.monotonic() + wait_s
        if not self._wait_in_queue(wait_s):
            raise TimeoutError
        if self._locked is not None:
            return
        try:
            next_file, lock_file = self._files
            with _hold_flock(next_file, give_up), ExitStack() as stack:
                stack.enter_context(_hold_flock(lock_file, give_up))
                self._locked = stack.pop_all()
        except BaseException:
            self.pass_on()
            raise
        self._locked_at = time.monotonic()

    def pass_on(self) -> None:
        """Hand it on: to the next thread, or after a while to another process."""
        with self._guard:
            is_over = time.monotonic() - self._locked_at > _OWN_TURNS_S
            if self._locked is not None and (is_over or not self._waiting):
                self._locked.close()
                self._locked = None
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False

    def _wait_in_queue(self, timeout_s: float) -> bool:
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            is_mine = mine.wait(timeout_s)
        except BaseException:  # as from a signal
            if not self._leave_queue(mine):
                self.pass_on()
            raise
        return is_mine or not self._leave_queue(mine)

    def _leave_queue(self, mine: threading.Event) -> bool:
        """Leave the line; False where it was handed over meanwhile."""
        with self._guard:
            if mine.is_set():
                return False
            self._waiting.remove(mine)
            return True


#: One a file and process, however many stores have it open.
_queues: Final[dict[str, WriterQueue]] = {}


def lock_files(path: str) -> tuple[str, str]:
    """The files beside the store at `path`: who is next locks one, who writes the other."""
    return f"{path}.next", f"{path}.lock"


@contextmanager
def hold_writer_lock(path: str, name: str, wait_s: float) -> Iterator[None]:
    """Be the only writer of the store at `path`. Raises StoreError, and OSError for its files."""
    line = _queues.get(path)
    if line is None:
        line = _queues.setdefault(path, WriterQueue(path))
    try:
        line.acquire_lock(wait_s)
    except TimeoutError:
        raise StoreError(
            f"the store {name} has been locked by another process for {wait_s:g} s",
            "end the program that holds it, or wait and try again",
        ) from None
    try:
        yield
    finally:
        line.pass_on()


@contextmanager
def _hold_flock(path: str, give_up: float) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise TimeoutError from None
                time.sleep(_PAUSE_S)
            else:
                break
        yield
    finally:
        os.close(handle)
