"""A PgBouncer in transaction mode before the tests' PostgreSQL, and a proxy that loses answers."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.support.folders import FOLDER
from tests.support.postgres_server import NOBODY

STARTUP_S = 20


def find_pgbouncer() -> str | None:
    """The program, where it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running_pgbouncer(program: str, server_folder: Path, *, sessions: int = 2) -> Iterator[int]:
    """Its port on 127.0.0.1; all clients of a database share so many sessions of the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=FOLDER))
    try:
        (folder / "users").write_text('"postgres" ""\n', encoding="utf-8")
        (folder / "ini").write_text(
            f"[databases]\n* = host={server_folder}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {folder / 'users'}\npool_mode = transaction\n"
            f"default_pool_size = {sessions}\nmax_client_conn = 200\n",
            encoding="utf-8",
        )
        argv = [program, str(folder / "ini")]
        if os.getuid() == 0:  # it refuses to run as root
            folder.chmod(0o755)
            argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            _await_port(port, process, folder / "log")
            yield port
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))
        time.sleep(0.02)


def through_port(url: str, port: int) -> str:
    """The URL of a test's database, by a port of this machine."""
    name = url.partition("@/")[2].partition("?")[0]
    return f"postgresql://postgres@127.0.0.1:{port}/{name}"


class LossyProxy:
    """Passes PostgreSQL's bytes on, until `lose_next` makes it cut a connection.

    "answer": a COMMIT reaches the server, and its answer does not reach the client.
    "request": the COMMIT does not reach the server.
    """

    def __init__(self, server_folder: Path) -> None:
        self._server = f"{server_folder}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lose_next: str | None = None
        #: Until then nobody is let in.
        self.closed_until = 0.0
        self.losses = 0

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if time.monotonic() < self.closed_until:
                    client.close()
                else:
                    threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            answers = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError):
                while chunk := client.recv(1 << 16):
                    if self.lose_next and b"COMMIT" in chunk:
                        self._lose(client, server, chunk)
                        break
                    server.sendall(chunk)
            for each in (client, server):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            answers.join(10)

    def _lose(self, client: socket.socket, server: socket.socket, chunk: bytes) -> None:
        lost, self.lose_next = self.lose_next, None
        self.losses += 1
        client.shutdown(socket.SHUT_RDWR)
        if lost == "answer":
            server.sendall(chunk)
            time.sleep(0.3)  # the server ends the transaction meanwhile

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def lossy_proxy(server_folder: Path) -> Iterator[LossyProxy]:
    """A proxy before the server in this folder."""
    proxy = LossyProxy(server_folder)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(5)


def server_settings(url: str, *names: str) -> list[str]:
    """What a plain client sees of these settings."""
    with psycopg.connect(url) as connection:
        return [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]
