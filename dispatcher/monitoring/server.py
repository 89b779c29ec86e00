"""The HTTP server: `/metrics` and `/healthz`, until a signal."""

import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import CollectorRegistry

from dispatcher.errors import DispatcherError
from dispatcher.local.life_signs import get_life_signs
from dispatcher.local.signals import InterruptCounter
from dispatcher.logs.events import LogEvent, log_event

log = logging.getLogger(__name__)

#: Seconds that a client may take to send its request.
_PATIENCE_S = 10.0
_LOOK_S = 0.2
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]


class _QuietHandler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, *_: object) -> None:
        """Say nothing: a scrape is not an event."""


def serve_until_signal(
    registry: CollectorRegistry, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; `ready` gets the URL. Raises DispatcherError."""
    with InterruptCounter() as signals, serve_metrics(registry, host, port) as url:
        ready(url)
        get_life_signs().send_ready()
        while not signals.count:
            get_life_signs().send_alive()
            time.sleep(_LOOK_S)
        get_life_signs().send_stopping()


@contextmanager
def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serve in threads while the `with` block runs; yields the URL of the metrics.

    Raises DispatcherError where the address cannot be had.
    """
    try:
        server = make_server(
            host, port, _make_app(registry), _server_class(host, port), _QuietHandler
        )
    except OSError as error:
        raise _explain(error, host, port) from error
    thread = threading.Thread(target=server.serve_forever, args=(_LOOK_S,), name="metrics")
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server_class(host: str, port: int) -> type[ThreadingWSGIServer]:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    class MetricsServer(ThreadingWSGIServer):
        """Listens in the address family of the host."""

        address_family = family

        def handle_error(self, request: object, client_address: object) -> None:
            """Say in one line that a request failed, as one of a client that is too slow does."""
            del request, client_address
            words = "a request for metrics failed: %s"
            log_event(log, LogEvent.METRICS_REQUEST_FAILED, words, type(sys.exc_info()[1]).__name__)

    return MetricsServer


def _make_app(registry: CollectorRegistry) -> WSGIApplication:
    metrics = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return list(metrics(environ, start))
        if path == "/healthz":
            start("200 OK", _PLAIN)
            return [b"ok\n"]
        start("404 Not Found", _PLAIN)
        return [b"see /metrics and /healthz\n"]

    return answer


def _explain(error: OSError, host: str, port: int) -> DispatcherError:
    if error.errno == errno.EADDRINUSE:
        return DispatcherError(
            f"port {port} of {host} is in use",
            "choose another with --port, or --port 0 for a free one",
        )
    return DispatcherError(
        f"{host}, port {port}, cannot be opened: {error.strerror or error}",
        "--host is an address of this machine, and ports below 1024 need rights",
    )
