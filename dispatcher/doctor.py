"""The doctor: whether everything that a campaign needs is there, a finding per part."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from dispatcher import embedded
from dispatcher.campaigns import SCHEDULER_SILENT_S, scheduler_silence_s
from dispatcher.config import Settings
from dispatcher.errors import BrokerError, StoreError
from dispatcher.processes import threads_needed
from dispatcher.store import accounts, scheduler
from dispatcher.store.engine import Store, store_now
from dispatcher.store.migrate import current


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do about a problem."""

    part: str
    ok: bool
    what: str
    remedy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The finding as `doctor --json` has it."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at configuration, store, broker, scheduler, workers and accounts, in that order."""
    place = settings.path or "the environment"
    yield Finding(part="configuration", ok=True, what=f"read from {place}")
    for problem in settings.problems():
        yield Finding(part="configuration", ok=False, what=problem)
    store = Store(settings.store.url)
    looked = list(_store(store))
    yield from looked
    yield _broker(settings)
    if all(finding.ok for finding in looked):
        yield _scheduler(store)
        yield from _workers(store, settings)
        yield from _accounts(store, settings)
        yield from _corrections(store)


def _store(store: Store) -> Iterator[Finding]:
    try:
        revision = current(store)
    except StoreError as error:
        yield Finding(part="store", ok=False, what=error.message, remedy=error.hint)
        return
    if revision is None:
        yield Finding(
            part="store", ok=False, what=f"{store.name} has no tables yet",
            remedy="run `dispatcher db upgrade`, or `dispatcher up`",
        )  # fmt: skip
    else:
        yield Finding(part="store", ok=True, what=f"{store.name}, revision {revision}")


def _broker(settings: Settings) -> Finding:
    from redis.exceptions import RedisError

    what = "embedded" if settings.broker.url == "embedded" else "the configured server"
    remedy = (
        "`dispatcher up` starts it"
        if settings.broker.url == "embedded"
        else "start it, or correct `url` under [broker]"
    )
    try:
        url = embedded.broker_url(settings.broker.url, settings.store.url)
        version = embedded.redis_client(url).info("server").get("redis_version")
    except BrokerError as error:
        return Finding(part="broker", ok=False, what=error.message, remedy=error.hint)
    except RedisError as error:
        reason = f"{what} does not answer ({type(error).__name__})"
        return Finding(part="broker", ok=False, what=reason, remedy=remedy)
    return Finding(part="broker", ok=True, what=f"{what} answers, version {version}")


def _scheduler(store: Store) -> Finding:
    silence_s = scheduler_silence_s(store)
    if silence_s is None or silence_s > SCHEDULER_SILENT_S:
        seen = "never seen" if silence_s is None else f"not seen for {silence_s:.0f} s"
        remedy = "start `dispatcher up`, or `celery -A workers beat` and a worker"
        return Finding(part="scheduler", ok=False, what=seen, remedy=remedy)
    return Finding(part="scheduler", ok=True, what=f"ticked {max(0.0, silence_s):.1f} s ago")


def _workers(store: Store, settings: Settings) -> Iterator[Finding]:
    with store.read() as conn:
        since = store_now(conn) - timedelta(seconds=settings.worker.lease_s)
        seen = scheduler.workers(conn, since)
    if not seen:
        remedy = "start `dispatcher up`, or `celery -A workers worker`"
        yield Finding(part="workers", ok=False, what="none seen", remedy=remedy)
    needed = threads_needed(settings)
    for worker in seen:
        enough = worker.concurrency >= needed
        yield Finding(
            part="workers",
            ok=enough,
            what=f"{worker.name}, {worker.concurrency} threads",
            remedy=None
            if enough
            else f"it needs {needed}: with fewer a hanging provider stops everybody; leave out -c",
        )


def _accounts(store: Store, settings: Settings) -> Iterator[Finding]:
    with store.read() as conn:
        known = accounts.all_accounts(conn)
    for name in settings.accounts:
        row = known.get(name)
        if row is None or row.paused_by is None:
            yield Finding(part="accounts", ok=True, what=f"{name} is open")
            continue
        yield Finding(
            part="accounts",
            ok=False,
            what=f"{name} is paused ({row.paused_by}): {row.pause_reason}",
            remedy=f"put it right, then `dispatcher account resume {name}`",
        )


def _corrections(store: Store) -> Iterator[Finding]:
    with store.read() as conn:
        made = scheduler.corrections(conn)
    for what, count in sorted(made.items()):
        yield Finding(part="sweep", ok=True, what=f"{count} × {what}")
