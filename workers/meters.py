"""Meters of this worker process: requests to providers, the event loop, tasks; for Prometheus.

They are always kept, and served where `metrics_port` is set. Labels are accounts and kinds.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from celery import signals
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from dispatcher.config.sections import WorkerSettings
from dispatcher.errors import DispatcherError, ErrorKind
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.monitoring.server import serve_metrics
from dispatcher.store.metric_figures import DURATION_EDGES_S

if TYPE_CHECKING:
    from workers.http.http_runtime import HttpRuntime

log = logging.getLogger(__name__)

REGISTRY: Final = CollectorRegistry()
_ANSWERS = Histogram(
    "dispatcher_worker_answer_seconds",
    "How long providers took to answer, by what was asked: submit or read.",
    ["account", "call"],
    buckets=DURATION_EDGES_S,
    registry=REGISTRY,
)
_ERRORS = Counter(
    "dispatcher_worker_request_errors",
    "Requests that failed, by kind of error.",
    ["account", "call", "kind"],
    registry=REGISTRY,
)
_IN_FLIGHT = Gauge(
    "dispatcher_worker_requests_in_flight",
    "Requests to the provider that this process has under way.",
    ["account", "call"],
    registry=REGISTRY,
)
_LAG = Histogram(
    "dispatcher_worker_loop_lag_seconds",
    "How late the event loop of all requests is, measured once a second.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
    registry=REGISTRY,
)
_TASKS = Histogram(
    "dispatcher_worker_task_seconds",
    "How long tasks took, ticks included, by Celery's state in the end.",
    ["task", "state"],
    buckets=(0.01, 0.05, *DURATION_EDGES_S),
    registry=REGISTRY,
)
ProcessCollector(registry=REGISTRY)
_server = ExitStack()
#: When each task that runs here began.
_task_starts: dict[str, float] = {}


class NamedTask(Protocol):
    """What is used of Celery's tasks."""

    name: str


def note_begun(account: str, call: str, requests: int = 1) -> None:
    """Count requests that are under way now."""
    _IN_FLIGHT.labels(account, call).inc(requests)


def note_ended(account: str, call: str, requests: int = 1) -> None:
    """Count requests that are no longer under way."""
    _IN_FLIGHT.labels(account, call).dec(requests)


def note_answer(account: str, call: str, took_s: float | None, kind: ErrorKind | None) -> None:
    """Count an answer, or a request without one, and its error if it failed."""
    if took_s is not None:
        _ANSWERS.labels(account, call).observe(took_s)
    if kind is not None:
        _ERRORS.labels(account, call, kind.value).inc()


def note_loop_lag(lag_s: float) -> None:
    """Count how late the event loop was."""
    _LAG.observe(max(0.0, lag_s))


@signals.task_prerun.connect
def _note_task_start(task_id: str, **_: object) -> None:
    _task_starts[task_id] = time.monotonic()


@signals.task_postrun.connect
def _note_task_end(task_id: str, task: NamedTask, state: str | None = None, **_: object) -> None:
    began_at = _task_starts.pop(task_id, None)
    if began_at is not None:
        name = task.name.rpartition(".")[2]
        _TASKS.labels(name, state or "UNKNOWN").observe(time.monotonic() - began_at)


def serve_meters(settings: WorkerSettings, runtime: "HttpRuntime") -> None:
    """Measure the loop's lag and serve the meters, where `metrics_port` is set."""
    if settings.metrics_port is not None:
        runtime.watch_lag(note_loop_lag)
        start_server(settings.metrics_host, settings.metrics_port)


def start_server(host: str, port: int) -> None:
    """Serve the meters. What keeps it from that is logged: sending does not wait for it."""
    try:
        url = _server.enter_context(serve_metrics(REGISTRY, host, port))
    except DispatcherError as error:
        words = "this worker has no metrics: %s"
        log_event(log, LogEvent.METERS_NOT_SERVED, words, error.in_one_line)
    else:
        log_event(log, LogEvent.METERS_SERVED, "metrics of this worker: %s", url)


def stop_server() -> None:
    """Stop serving."""
    _server.close()


@contextmanager
def meter_requests(account: str, call: str) -> Iterator[None]:
    """Count a request as under way during the block."""
    note_begun(account, call)
    try:
        yield
    finally:
        note_ended(account, call)
