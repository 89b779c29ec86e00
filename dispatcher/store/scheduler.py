"""When the last tick was, what the sweeps corrected, and which workers are alive."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, or_, select, update

from dispatcher.store.engine import store_now
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one, fetch_optional
from dispatcher.store.row_parts import TickTimes
from dispatcher.store.rows import WorkerRow
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import SCHEDULER, WORKER

#: A second tick within this time does nothing, so that two beat processes do no harm.
_TICK_GAP = timedelta(seconds=0.5)
_FIRST = {"id": 1, "corrections": "{}"}
# Built once, since every tick executes them.
_LOCKED = select(*columns_of(SCHEDULER, TickTimes)).where(SCHEDULER.c.id == 1).with_for_update()
_TICKED = (
    update(SCHEDULER)
    .where(SCHEDULER.c.id == 1)
    .values(ticked_at=bindparam("at"), judge_after=bindparam("judged_after"))
)
_OTHER_WORKER = select(
    exists().where(WORKER.c.name != bindparam("worker"), WORKER.c.seen_at >= bindparam("since"))
)


class Tick(NamedTuple):
    """A tick: when it was, and the time before which no lease is judged."""

    now: datetime
    judge_after: datetime


def begin_tick(
    conn: Connection, lease: timedelta, clock: Callable[[Connection], datetime] = store_now
) -> Tick | None:
    """Record this tick; None if another one just was.

    The clock is read after the row is locked: of two ticks at once the second one would otherwise
    find that the first was later than its own time, as if the clock had gone back.

    After a gap longer than half a lease (outage, suspend, clock jump) workers get one full lease
    to renew before any of their batches is judged lost.
    """
    row = fetch_optional(conn, TickTimes, _LOCKED)
    if row is None:
        ensure_scheduler_row(conn)
        row = fetch_one(conn, TickTimes, _LOCKED)
    now = clock(conn)
    if row.ticked_at is not None and now - _TICK_GAP < row.ticked_at <= now:
        return None
    judge_after = row.judge_after or now
    if row.ticked_at is not None and not now - lease / 2 <= row.ticked_at <= now:
        judge_after = now + lease
    conn.execute(_TICKED, {"at": now, "judged_after": judge_after})
    return Tick(now, judge_after)


def last_tick_at(conn: Connection) -> datetime | None:
    """When the last tick was; None before the first."""
    ticked: datetime | None = conn.execute(select(SCHEDULER.c.ticked_at)).scalar_one_or_none()
    return ticked


def ensure_scheduler_row(conn: Connection) -> None:
    """Insert the scheduler's row if it does not exist yet."""
    insert_or_ignore(conn, SCHEDULER, _FIRST)


def record_heartbeat(
    conn: Connection,
    worker: str,
    concurrency: int,
    now: datetime,
    *,
    version: str | None = None,
    clock_ms: int | None = None,
    revision: str | None = None,
) -> None:
    """Record that a worker process is alive.

    `clock_ms` are the milliseconds by which its clock is ahead of the store's, `version` is the
    program's, `revision` the newest of the tables that it knows.
    """
    seen = {
        "seen_at": now, "concurrency": concurrency, "version": version, "clock_ms": clock_ms,
        "revision": revision,
    }  # fmt: skip
    done = conn.execute(update(WORKER).where(WORKER.c.name == worker).values(**seen)).rowcount
    if not done:
        insert_or_ignore(conn, WORKER, {"name": worker, "started_at": now, **seen})


def deregister_worker(conn: Connection, worker: str, now: datetime) -> None:
    """Remove a worker that ended, and workers that were not seen for a day."""
    stale = WORKER.c.seen_at < now - timedelta(days=1)
    conn.execute(delete(WORKER).where(or_(WORKER.c.name == worker, stale)))


def list_workers(conn: Connection, since: datetime) -> list[WorkerRow]:
    """The workers whose last heartbeat is not older than `since`."""
    query = select(*columns_of(WORKER, WorkerRow)).where(WORKER.c.seen_at >= since)
    return fetch_all(conn, WorkerRow, query.order_by(WORKER.c.name))


def has_other_worker(conn: Connection, worker: str, since: datetime) -> bool:
    """Whether a worker of another name had its last heartbeat at `since` or later."""
    return bool(conn.execute(_OTHER_WORKER, {"worker": worker, "since": since}).scalar_one())
