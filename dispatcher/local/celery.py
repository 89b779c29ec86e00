"""The Celery processes that one machine runs, as children: worker, beat and Flower.

Only their command lines: what they do stands in `workers/`.
"""

import os
import socket
import sys
from collections.abc import Iterator

from dispatcher.config.settings import Settings
from dispatcher.errors import UsageProblem
from dispatcher.local.supervisor import Child
from dispatcher.policy.reconciliation import SCANS_AT_ONCE

#: Flower's own default; another free port is taken where it is in use.
FLOWER_PORT = 5555
_LEVELS = ("debug", "info", "warning", "error")
#: What a worker may need to settle its answers after the slowest provider has been waited for.
_SETTLE_S = 15.0
_SPARE_THREADS = 4
#: Celery warns root of pickled tasks, which are not accepted here; as PYTHONWARNINGS has it.
_ROOT_IS_FINE = "ignore:You're running the worker with superuser privileges"


def threads_needed(settings: Settings) -> int:
    """Threads that a worker needs so that a hanging provider holds only its own places.

    Every place in flight of every account, polls, looks, and some for ticks and stale messages.
    """
    places = sum(account.max_in_flight for account in settings.accounts.values())
    return places + settings.worker.max_polls + SCANS_AT_ONCE + _SPARE_THREADS


def celery_children(
    settings: Settings, broker_url: str, *, workers: int = 1, level: str = "info"
) -> Iterator[Child]:
    """`workers` worker processes and beat; ended in the order beat, workers.

    A worker has the longest timeout of an account, and 15 s, to finish what is under way.
    """
    env = _child_environment(settings, broker_url)
    celery = [sys.executable, "-m", "celery", "-q", "-A", "workers"]
    timeouts = [account.timeout_s for account in settings.accounts.values()]
    # Its ready line is an INFO line.
    worker_level = min(level, "info", key=_LEVELS.index)
    # What workers tell each other (mingle, gossip) nothing here needs, and it takes a second.
    worker = [*celery, "worker", "-l", worker_level, "--without-mingle", "--without-gossip"]
    for number in range(1, workers + 1):
        yield Child(
            name="worker" if workers == 1 else f"worker{number}",
            argv=[*worker, "-n", f"worker{number}@%h"],
            env=env,
            ready_pattern=r" ready\.$",
            hide=None if worker_level == level else r": INFO/",
            grace_s=max(timeouts, default=0.0) + _SETTLE_S,
            wave=1,
        )
    argv = [*celery, "beat", "-l", level, "-S", "celery.beat:Scheduler", "--pidfile="]
    yield Child(name="beat", argv=argv, env=env, wave=0)


def flower_child(settings: Settings, broker_url: str, port: int) -> Child:
    """Flower on this machine's loopback address only; ended after the workers."""
    options = ["--address=127.0.0.1", f"--port={port}", "--logging=warning"]
    return Child(
        name="flower",
        argv=[sys.executable, "-m", "celery", "-q", "-A", "workers", "flower", *options],
        env=_child_environment(settings, broker_url),
        wave=2,
    )


def find_flower_port(wanted: int | None) -> int:
    """The wanted port; without a wish Flower's usual one where it is free, else any.

    Raises UsageProblem where the wanted one is in use.
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
                raise UsageProblem(f"port {port} cannot be used for Flower", hint) from None
            return int(probe.getsockname()[1])
    raise UsageProblem("there is no free port for Flower", "name one with --flower-port")


def is_listening(port: int) -> bool:
    """Whether something listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _child_environment(settings: Settings, broker_url: str) -> dict[str, str]:
    filters = [os.environ.get("PYTHONWARNINGS"), _ROOT_IS_FINE]
    env = {
        **os.environ,
        "DISPATCHER_BROKER__URL": broker_url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(filter(None, filters)),
    }
    if settings.path is not None:
        env["DISPATCHER_CONFIG"] = str(settings.path)
    return env
