"""A receiver of webhooks on loopback, which keeps what it gets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """What was posted, and the statuses to answer with: first these, then 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        #: Set while posts are answered at once.
        self.answers = threading.Event()
        self.answers.set()
        self.url = ""


@contextmanager
def receiver() -> Iterator[Receiver]:
    ours = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ours.got.append((dict(self.headers), body))
            ours.answers.wait(10)
            self.send_response(ours.statuses.pop(0) if ours.statuses else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        ours.url = f"http://127.0.0.1:{server.server_port}/hook?key=1"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield ours
        finally:
            ours.answers.set()
            server.shutdown()
            thread.join()
