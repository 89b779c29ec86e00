"""The lock of SQLite's writers: first in, first out among threads, and fair between processes.

flock has no queue: of a few dozen threads that poll it, some wait for seconds. So only the head of
this process's queue polls the lock file, and only while it holds `.next`, which keeps another
process from overtaking it.

Handing the lock to another process takes longer than many transactions. So a process serves its
own queue for some milliseconds before it lets another process in.
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
#: How long a process keeps the lock files for its own threads before others get a chance.
_OWN_TURNS_S: Final = 0.01


class WriterQueue:
    """The threads of this process that want to write a store, in the order in which they asked.

    The lock files stay locked while one thread hands the lock to the next.
    """

    def __init__(self, path: str) -> None:
        self._files = lock_files(path)
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_held = False
        #: The lock file, and since when it is locked; None while other processes may write.
        self._locked: ExitStack | None = None
        self._locked_at = 0.0

    def __len__(self) -> int:
        """How many threads wait."""
        return len(self._waiting)

    def acquire_lock(self, wait_s: float) -> None:
        """Wait until this thread may write. Raises TimeoutError, or OSError for the lock files."""
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
        """Let the next thread write, or another process after `_OWN_TURNS_S`."""
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
        except BaseException:  # a signal may raise here
            if not self._leave_queue(mine):
                self.pass_on()
            raise
        return is_mine or not self._leave_queue(mine)

    def _leave_queue(self, mine: threading.Event) -> bool:
        """Stop waiting. False where the lock was handed to this thread meanwhile."""
        with self._guard:
            if mine.is_set():
                return False
            self._waiting.remove(mine)
            return True


#: One queue per file and process, however many stores have the file open.
_queues: Final[dict[str, WriterQueue]] = {}


def lock_files(path: str) -> tuple[str, str]:
    """The lock files beside the store at `path`: the next writer's, and the present writer's."""
    return f"{path}.next", f"{path}.lock"


@contextmanager
def hold_writer_lock(path: str, name: str, wait_s: float) -> Iterator[None]:
    """Hold the lock as the only writer of the store at `path`, which messages call `name`.

    Raises StoreError after `wait_s` seconds, and OSError where a lock file cannot be opened.
    """
    queue = _queues.get(path)
    if queue is None:
        queue = _queues.setdefault(path, WriterQueue(path))
    try:
        queue.acquire_lock(wait_s)
    except TimeoutError:
        raise StoreError(
            f"the store {name} has been locked by another process for {wait_s:g} s",
            "stop the program that uses it, or wait and try again",
        ) from None
    try:
        yield
    finally:
        queue.pass_on()


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
