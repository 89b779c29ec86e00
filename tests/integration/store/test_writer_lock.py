"""The writer lock: first in, first out among threads, soon for other processes, never leaked."""

import fcntl
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from dispatcher.errors import StoreError
from dispatcher.store.writer_lock import WriterQueue, hold_writer_lock, lock_files
from tests.support.stage import wait_for


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store.db")


@contextmanager
def locked_elsewhere(path):
    """As by another process: an flock belongs to the open file."""
    _, lock_file = lock_files(path)
    with Path(lock_file).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_free(path):
    """Whether another process could write now."""
    _, lock_file = lock_files(path)
    with Path(lock_file).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_nobody_else_writes_while_the_lock_is_held(path):
    with hold_writer_lock(path, "store", 1):
        assert not is_free(path)
    assert is_free(path)


def test_threads_get_the_lock_in_the_order_in_which_they_asked(path):
    queue, came = WriterQueue(path), []

    def write(number):
        queue.acquire_lock(10)
        assert not is_free(path)
        came.append(number)
        queue.pass_on()

    def has_places(count):
        return len(queue) == count

    with ThreadPoolExecutor(8) as pool:
        queue.acquire_lock(10)
        for number in range(8):
            pool.submit(write, number)
            wait_for(partial(has_places, number + 1), "its place")
        queue.pass_on()
    assert came == [*range(8)]
    assert is_free(path)


def test_another_process_gets_the_lock_while_threads_keep_asking(path):
    is_over = threading.Event()

    def write():
        while not is_over.is_set():
            with hold_writer_lock(path, "store", 10):
                time.sleep(0.001)

    code = (
        "import sys\n"
        "from dispatcher.store.writer_lock import hold_writer_lock\n"
        "for _ in range(20):\n"
        "    with hold_writer_lock(sys.argv[1], 'store', 10):\n"
        "        pass\n"
    )
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write) for _ in range(4)]
        try:
            other = subprocess.run([sys.executable, "-c", code, path], timeout=60, check=False)
        finally:
            is_over.set()
        for writer in writers:
            writer.result()
    assert other.returncode == 0


def test_a_thread_that_waits_too_long_gets_an_error_and_the_next_one_the_lock(path):
    with (
        locked_elsewhere(path),
        pytest.raises(StoreError, match="locked by another process"),
        hold_writer_lock(path, "the store", 0.05),
    ):
        pytest.fail("two would write")
    with hold_writer_lock(path, "the store", 1):
        assert not is_free(path)
    assert is_free(path)


def test_a_thread_that_gave_up_leaves_no_lock_behind(path):
    def write():
        with hold_writer_lock(path, "store", 0.05):
            pytest.fail("two would write")

    with (
        ThreadPoolExecutor(1) as pool,
        hold_writer_lock(path, "store", 1),
        pytest.raises(StoreError, match="locked"),
    ):
        pool.submit(write).result()
    assert is_free(path)


class Interrupted(BaseException):
    """As a signal's handler raises it, wherever the main thread is."""


def test_an_interrupted_thread_leaves_no_place_in_the_queue_behind(path):
    def interrupt(*_):
        raise Interrupted

    def interrupt_who_waits():
        wait_for(lambda: len(queue) == 1, "its place")
        signal.pthread_kill(main.ident, signal.SIGUSR1)

    queue, main = WriterQueue(path), threading.current_thread()
    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            queue.acquire_lock(10)
            pool.submit(interrupt_who_waits)
            with pytest.raises(Interrupted):
                queue.acquire_lock(10)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert len(queue) == 0
    queue.pass_on()
    queue.acquire_lock(1)
    queue.pass_on()
    assert is_free(path)


def test_an_error_while_the_lock_is_held_frees_it(path):
    with pytest.raises(ZeroDivisionError), hold_writer_lock(path, "store", 1):
        raise ZeroDivisionError
    assert is_free(path)


def test_a_folder_that_is_gone_is_the_systems_error_and_holds_nobody_up(path):
    missing = path.replace("store.db", "gone/store.db")
    for _ in range(2):
        with pytest.raises(FileNotFoundError), hold_writer_lock(missing, "store", 1):
            pytest.fail("there is nothing to lock")
