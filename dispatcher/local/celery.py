"""The command lines of the processes that `up` runs: workers, beat, Flower, and the receiver."""

import os
import socket
import sys
from collections.abc import Iterator

from dispatcher.config.settings import Settings
from dispatcher.errors import WrongValue
from dispatcher.local.life_signs import LIFE_SIGN_VARIABLES
from dispatcher.local.supervisor import Child
from dispatcher.policy.concurrency import MOST_BULK, MOST_FOR_RATE
from dispatcher.policy.reconciliation import SCANS_AT_ONCE
from dispatcher.urls import has_password

#: Flower's default port; if it is in use, another free port is used.
FLOWER_PORT = 5555
_LEVELS = ("debug", "info", "warning", "error")
#: The time in which a worker stores its last answers, after the slowest provider's timeout.
_SETTLE_S = 15.0
_SPARE_THREADS = 4
#: Submissions at a time, however few threads there may be.
_LEAST_SUBMISSIONS = 8
#: Threads of a worker that are not Celery's: leases, watchdog, notices, and the main one.
_OWN_THREADS = 4
#: Of `up`, unless somebody wants more: the store, the broker and the provider need cores too.
_MOST_WORKERS = 4
#: For PYTHONWARNINGS: Celery warns root about pickled tasks, which are not accepted here.
_ROOT_IS_FINE = "ignore:You're running the worker with superuser privileges"


def batches_at_once(settings: Settings) -> int:
    """How many batches may be in flight, all accounts together."""
    return sum(account.max_in_flight or MOST_BULK for account in settings.accounts.values())


def submissions_at_once(settings: Settings) -> int:
    """How many batches one process submits at a time, within its key `max_threads`.

    With as many as may be in flight, a provider that hangs occupies only its own slots.
    """
    most = max(_LEAST_SUBMISSIONS, settings.worker.max_threads - _other_threads(settings))
    return min(batches_at_once(settings), most)


def threads_needed(settings: Settings) -> int:
    """How many threads a worker has: for submissions, polls, list scans, and some for ticks."""
    return submissions_at_once(settings) + _other_threads(settings)


def _other_threads(settings: Settings) -> int:
    return settings.worker.max_polls + SCANS_AT_ONCE + _SPARE_THREADS


def connections_needed(settings: Settings) -> int:
    """How many connections a worker may need to one host: several accounts may share it."""
    requests = sum(account.max_in_flight or MOST_FOR_RATE for account in settings.accounts.values())
    return requests + settings.worker.max_polls + SCANS_AT_ONCE


def workers_by_default() -> int:
    """How many worker processes use this machine's cores: each computes on one at a time."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


def store_connections_needed(settings: Settings) -> int:
    """How many connections to the store a worker may open: one for each thread, within its key."""
    return min(threads_needed(settings) + _OWN_THREADS, settings.worker.max_connections)


def celery_children(
    settings: Settings, broker_url: str, *, workers: int = 1, level: str = "info"
) -> Iterator[Child]:
    """The children for `workers` worker processes and beat; beat is ended first.

    A worker may finish its requests for the longest timeout of an account, plus 15 s.
    """
    env = _child_environment(settings, broker_url)
    port = settings.worker.metrics_port
    python = [sys.executable, "-m", "workers"]
    timeouts = [account.timeout_s for account in settings.accounts.values()]
    # The line that says that a worker is ready has the level INFO.
    worker_level = min(level, "info", key=_LEVELS.index)
    # Nothing here needs what workers tell each other (mingle, gossip), which takes a second.
    worker = [*python, "worker", "-l", worker_level, "--without-mingle", "--without-gossip"]
    for number in range(1, workers + 1):
        yield Child(
            name="worker" if workers == 1 else f"worker{number}",
            argv=[*worker, "-n", f"worker{number}@%h"],
            env=env
            if port is None
            else env | {"DISPATCHER_WORKER__METRICS_PORT": str(port + number - 1)},
            # As text, and as a line of JSON.
            ready_pattern=r' ready\.(?:$|",)',
            hide=None if worker_level == level else r': INFO/|"level":"INFO",',
            grace_s=max(timeouts, default=0.0) + _SETTLE_S,
            wave=1,
        )
    argv = [*python, "beat", "-l", level, "--pidfile="]
    yield Child(name="beat", argv=argv, env=env, wave=0)


def flower_child(settings: Settings, broker_url: str, port: int) -> Child:
    """The child for Flower, on the loopback address only; it is ended after the workers."""
    options = ["--address=127.0.0.1", f"--port={port}", "--logging=warning"]
    return Child(
        name="flower",
        argv=[sys.executable, "-m", "celery", "-q", "-A", "workers", "flower", *options],
        env=_child_environment(settings, broker_url),
        wave=2,
    )


def receiver_child(settings: Settings, broker_url: str) -> Child:
    """The child that takes what providers push; it is ended first."""
    return Child(
        name="receiver",
        argv=[sys.executable, "-m", "dispatcher", "receiver"],
        env=_child_environment(settings, broker_url),
        ready_pattern=r'^receiver ready|"event":"receiver_ready"',
        wave=0,
    )


def find_flower_port(wanted: int | None) -> int:
    """The wanted port; if None, Flower's default port if it is free, else any free port.

    Raises UsageProblem if the wanted port is in use.
    """
    for port in (wanted or FLOWER_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                if wanted is None:
                    continue
                hint = "leave out --flower-port to use a free port"
                raise WrongValue(f"port {port} cannot be used for Flower", hint) from None
            return int(probe.getsockname()[1])
    raise WrongValue("there is no free port for Flower", "name one with --flower-port")


def is_listening(port: int) -> bool:
    """Whether something listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _child_environment(settings: Settings, broker_url: str) -> dict[str, str]:
    filters = [os.environ.get("PYTHONWARNINGS"), _ROOT_IS_FINE]
    env = {
        **{name: value for name, value in os.environ.items() if name not in LIFE_SIGN_VARIABLES},
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(filter(None, filters)),
    }
    # `auto` is for processes that somebody else starts: they are not at a terminal here.
    env["DISPATCHER_LOG__FORMAT"] = "json" if settings.log.format == "json" else "text"
    if not has_password(broker_url):  # who starts a child sees what it is given
        env["DISPATCHER_BROKER__URL"] = broker_url
    if settings.path is not None:
        env["DISPATCHER_CONFIG"] = str(settings.path)
    return env
