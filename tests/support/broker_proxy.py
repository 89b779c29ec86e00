"""A proxy before a Redis server that answers every command with an error while it is told to."""

import re
import socket
import socketserver
import threading
from contextlib import closing, suppress
from typing import Final, Self

#: The start of a command (https://redis.io/docs, "Redis serialization protocol"): an array.
_COMMAND: Final = re.compile(rb"\*\d+\r\n")


class BrokerProxy:
    """Listens on loopback, and passes on to the server at the unix socket `path`.

    ```python
    with BrokerProxy(path) as proxy:
        proxy.refusal = "LOADING the dataset is loaded into memory"
    ```
    """

    def __init__(self, path: str) -> None:
        self.refusal: str | None = None
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request, path)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"redis://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: socket.socket, path: str) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as server, suppress(OSError):
            server.connect(path)
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                if self.refusal is None:
                    server.sendall(data)
                else:
                    count = len(_COMMAND.findall(data))
                    client.sendall(f"-{self.refusal}\r\n".encode() * count)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
