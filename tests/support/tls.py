"""Certificates made for a test, and a TLS server that records what its clients send."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def make_certificate(folder: Path, name: str) -> Path:
    """A certificate that vouches for itself, for `name` (`localhost`, `127.0.0.1`); PEM with key.

    Skips or fails nothing by itself: without the `openssl` command it raises FileNotFoundError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "IP" if name[0].isdigit() else "DNS"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN={name} -addext subjectAltName={kind}:{name} "
        "-keyout key.pem -out cert.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


class RecordingServer:
    """Answers PostgreSQL's SSLRequest, does the handshake, and keeps what comes after it.

    `answer` is sent for each command of Redis' protocol that came encrypted.
    """

    def __init__(self, certificate: Path | None, answer: bytes = b"") -> None:
        self._answer = answer
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        #: Decrypted where it was encrypted, of all connections.
        self.received = b""

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(5)
        with suppress(OSError), client:
            first = client.recv(8, socket.MSG_PEEK)
            if first == b"\0\0\0\x08\x04\xd2\x16/":  # SSLRequest of PostgreSQL's protocol
                client.recv(8)
                client.sendall(b"S" if self._context else b"N")
            if self._context is None:
                self._keep(client)
            else:
                with self._context.wrap_socket(client, server_side=True) as encrypted:
                    self._keep(encrypted)

    def _keep(self, client: socket.socket) -> None:
        while chunk := client.recv(4096):
            self.received += chunk
            client.sendall(self._answer * chunk.count(b"*"))
            if self._context is None:  # as Redis answers a handshake
                client.sendall(b"-ERR Protocol error\r\n")
                break

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def recording_server(certificate: Path | None, answer: bytes = b"") -> Iterator[RecordingServer]:
    """A server on 127.0.0.1 with this certificate; None: it has no TLS."""
    server = RecordingServer(certificate, answer)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(5)
