"""Checks of what runs beside the store: how the broker is set up, workers' versions, notices."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dispatcher import __version__
from dispatcher.config.settings import Settings
from dispatcher.doctor.result import CheckResult
from dispatcher.errors import BrokerError
from dispatcher.local import broker
from dispatcher.local.celery import (
    batches_at_once,
    is_listening,
    store_connections_needed,
    submissions_at_once,
)
from dispatcher.store import notices, push_counts
from dispatcher.store.clocks import clock_lead_s
from dispatcher.store.engine import Store, store_now
from dispatcher.store.postgres import free_for_processes
from dispatcher.store.push_urls import list_push_urls
from dispatcher.store.rows import WorkerRow

_NOTICES_SINCE: Final = timedelta(days=1)
#: What people's commands need beside the workers.
_CONNECTIONS_OF_COMMANDS: Final = 10


def read_broker(settings: Settings) -> tuple[Mapping[str, Any], float | None]:
    """How the server is set up (INFO), and how far this machine's clock is ahead of its clock.

    Empty and None where it does not say.
    """
    from redis.exceptions import RedisError

    try:
        url = broker.celery_url(settings.broker.url, settings.store.url, settings.broker.ca_file)
        with closing(broker.redis_client(url)) as client:
            info = {**client.info("memory"), **client.info("persistence")}
            asked_at = datetime.now(UTC)
            seconds, microseconds = client.time()
            answered_at = datetime.now(UTC)
            at = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
            return info, clock_lead_s(at, asked_at=asked_at, answered_at=answered_at)
    except (BrokerError, RedisError):  # named by the check of the broker
        return {}, None


def check_broker_setup(info: Mapping[str, Any]) -> Iterator[CheckResult]:
    """Whether the server keeps what it was given, and can save to its disk."""
    policy = info.get("maxmemory_policy")
    if policy not in {None, "noeviction"}:
        yield CheckResult(
            part="broker settings",
            ok=True,
            is_warning=True,
            what=f"it drops keys when its memory is full (maxmemory-policy {policy}): due work "
            "then leaves late",
            remedy="set maxmemory-policy to noeviction",
        )
    failed = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name) not in {None, "ok"}
    ]
    if failed:
        yield CheckResult(
            part="broker settings",
            ok=True,
            is_warning=True,
            what=f"it cannot save to its disk ({failed[0]}): it may soon refuse to write",
            remedy='free its disk; this program needs no persistence there (`save ""`)',
        )
    elif info and policy == "noeviction":
        logs = "; it logs to its disk, which is not needed" if info.get("aof_enabled") else ""
        what = f"it never drops keys (maxmemory-policy noeviction){logs}"
        yield CheckResult(part="broker settings", ok=True, what=what)


def check_worker(worker: WorkerRow) -> Iterator[CheckResult]:
    """Whether a worker is of this version."""
    if worker.version is not None and worker.version != __version__:
        yield CheckResult(
            part="workers",
            ok=True,
            is_warning=True,
            what=f"{worker.name} is of version {worker.version}, this command of {__version__}",
            remedy="start it again from the new version",
        )


def check_notices(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Whether those who are to be notified could be."""
    if not settings.notify.channels:
        what = "nobody is notified of what happens"
        yield CheckResult(part="notices", ok=True, what=what)
        return
    with store.read() as conn:
        failed = notices.count_unsent(conn, store_now(conn) - _NOTICES_SINCE)
    ways = " and ".join(settings.notify.channels)
    yield CheckResult(
        part="notices",
        ok=True,
        is_warning=failed > 0,
        what=f"{failed} of the last day did not go out" if failed else f"go out by {ways}",
        remedy="`dispatcher notify list` says why, `dispatcher notify test` tries it"
        if failed
        else None,
    )


def check_receiver(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Whether what providers push arrives; nothing is said where nobody may push."""
    with store.read() as conn:
        urls = list_push_urls(conn)
        counts = push_counts.load_push_counts(conn)
        waiting = sum(push_counts.count_waiting_receipts(conn).values())
    mine = settings.receiver
    if mine.port is not None and not is_listening(mine.port):
        what = f"nothing listens on port {mine.port}, where providers push"
        remedy = "start `dispatcher receiver`, or `dispatcher up`"
        yield CheckResult(part="receiver", ok=False, what=what, remedy=remedy)
    last = max((row.last_at for row in counts if row.last_at and row.account), default=None)
    if urls:
        seen = (
            "nothing was pushed yet" if last is None else f"the last push was at {last:%F %T} UTC"
        )
        names = ", ".join(sorted({row.account for row in urls}))
        words = f"; {waiting} receipts wait for their message" if waiting else ""
        yield CheckResult(part="receiver", ok=True, what=f"URLs of {names}; {seen}{words}")
    elif mine.port is not None:
        yield CheckResult(
            part="receiver", ok=True, is_warning=True, what="nobody has a URL to push to",
            remedy="run `dispatcher receiver url ACCOUNT`",
        )  # fmt: skip


def check_threads(settings: Settings, *, processes: int) -> Iterator[CheckResult]:
    """Whether all batches that may be in flight find a thread in so many worker processes."""
    batches, each = batches_at_once(settings), submissions_at_once(settings)
    if processes * each >= batches:
        return
    more = settings.worker.max_threads + batches - each
    yield CheckResult(
        part="workers",
        ok=True,
        is_warning=True,
        what=f"{processes * each} of the {batches} batches that may be in flight find a thread: "
        "the others wait, also for a provider that hangs",
        remedy=f"set `max_threads` under [worker] to {more}, start more workers, or set "
        "`max_in_flight` of the accounts",
    )


def check_connections(store: Store, settings: Settings, *, processes: int) -> Iterator[CheckResult]:
    """Whether PostgreSQL has the connections that so many worker processes may open."""
    with store.read() as conn:
        free = free_for_processes(conn)
    if free is None:
        return
    each = store_connections_needed(settings)
    what = (
        f"{processes} worker {'process opens' if processes == 1 else 'processes open'} up to "
        f"{processes * each} connections of {free}"
    )
    is_enough = processes * each + _CONNECTIONS_OF_COMMANDS <= free
    remedy = (
        f"set `max_connections` under [worker] to at most "
        f"{max(4, (free - _CONNECTIONS_OF_COMMANDS) // processes)}, or raise max_connections in "
        "postgresql.conf, or connect through PgBouncer"
    )
    yield CheckResult(
        part="store",
        ok=processes * each <= free,
        is_warning=not is_enough,
        what=what if is_enough else f"{what}: some would be refused",
        remedy=None if is_enough else remedy,
    )
