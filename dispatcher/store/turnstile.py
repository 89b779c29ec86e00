"""Writers' turns: threads of this process in the order they came, then processes one by one.

An flock alone is won by whoever polls at the right moment: with a few dozen threads some of them
wait for seconds. So only the first in line polls it, and not before it holds a second one, for who
is next: a process that comes again at once finds that taken, and cannot overtake.
"""

import fcntl
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from dispatcher.errors import StoreError

_PAUSE_S: Final = 0.0005


class FairLock:
    """A lock that is handed on in the order in which it was asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_held = False

    def acquire(self, timeout_s: float) -> bool:
        """Wait for it, at most so long; whether it was got."""
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(timeout_s):
            return True
        with self._guard:
            if mine.is_set():  # handed over while we gave up
                return True
            self._waiting.remove(mine)
            return False

    def release(self) -> None:
        """Hand it on."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False


#: One a file and process, however many stores have it open.
_locks: defaultdict[str, FairLock] = defaultdict(FairLock)


def lock_files(path: str) -> tuple[str, str]:
    """The files beside the store at `path`: who is next locks one, who writes the other."""
    return f"{path}.next", f"{path}.lock"


@contextmanager
def turn(path: str, name: str, wait_s: float) -> Iterator[None]:
    """Be the only writer of the store at `path`. Raises StoreError, and OSError for its files."""
    give_up = time.monotonic() + wait_s
    next_file, lock_file = lock_files(path)
    lock = _locks[path]
    if not lock.acquire(wait_s):
        raise _locked(name, wait_s)
    try:
        with ExitStack() as stack:
            with _flocked(next_file, name, wait_s, give_up):
                stack.enter_context(_flocked(lock_file, name, wait_s, give_up))
            yield
    finally:
        lock.release()


@contextmanager
def _flocked(path: str, name: str, wait_s: float, give_up: float) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise _locked(name, wait_s) from None
                time.sleep(_PAUSE_S)
            else:
                break
        yield
    finally:
        os.close(handle)


def _locked(name: str, wait_s: float) -> StoreError:
    return StoreError(
        f"the store {name} has been locked by another process for {wait_s:g} s",
        "end the program that holds it, or wait and try again",
    )
