"""Compares clocks, and corrects what one that ran ahead left in the store: times are capped.

What a person set (`start_at`, `expire_at`, a time at the provider) is never changed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, bindparam, or_, select, true, update

from dispatcher.status import IN_FLIGHT, BatchState
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, WORKER
from dispatcher.store.transitions import has_state

#: Once the clock is right again, no computed time is waited for longer than this.
_SHORT_WAIT: Final = timedelta(minutes=1)
#: Longer than any wait that is computed: the end of an account's day, or a `Retry-After`.
_LONGEST_WAIT: Final = timedelta(hours=26)
_LONGEST_DAY: Final = timedelta(hours=25)
#: `poll_max_s` is at most 30 days.
_LONGEST_POLL: Final = timedelta(days=31)
#: An import renews its lease with every group of rows.
_IMPORT_LEASE: Final = timedelta(minutes=5)


def clock_lead_s(at: datetime, *, asked_at: datetime, answered_at: datetime) -> float:
    """By how many seconds this machine's clock is surely ahead of one that said `at`.

    Negative: behind. The other one was read at some time between the question and the answer: 0
    where `at` is between them, however long the answer took.
    """
    ahead_s = (asked_at - at).total_seconds()
    behind_s = (at - answered_at).total_seconds()
    return max(0.0, ahead_s) - max(0.0, behind_s)


class _Place(NamedTuple):
    """A column of times, and which rows to look at: those of a partial index where there is one."""

    table: Table
    name: str
    where: ColumnElement[bool] = true()


_IS_PENDING: Final = has_state(BatchState.PENDING)
_IN_FLIGHT: Final = has_state(*IN_FLIGHT)
_IS_POLLED: Final = ATTEMPT.c.poll_at.is_not(None)
# Each in the order in which rows are locked: account, campaign, batch, and then attempts.
_WAITS: Final = (
    _Place(ACCOUNT, "not_before"),
    _Place(ACCOUNT, "check_at"),
    _Place(BATCH, "not_before", _IS_PENDING),
)
_POLLS: Final = (_Place(ATTEMPT, "poll_at", _IS_POLLED),)
#: Whoever reads them takes one request's worth at most (`dispatcher/outbound/rates.py`), at every
#: look anew: a slow rate would stay used up until the wrong time comes.
_PAID: Final = (
    _Place(ACCOUNT, "messages_paid_until"),
    _Place(ACCOUNT, "parts_paid_until"),
    _Place(ACCOUNT, "requests_paid_until"),
    _Place(CAMPAIGN, "paid_until", CAMPAIGN.c.finished_at.is_(None)),
)
_LEASES: Final = (
    _Place(ACCOUNT, "check_lease_until"),
    _Place(ACCOUNT, "look_lease_until"),
    _Place(BATCH, "lease_until", _IN_FLIGHT),
    _Place(ATTEMPT, "poll_lease_until", _IS_POLLED),
)
_IS_OPEN: Final = CAMPAIGN.c.finished_at.is_(None)
_IMPORTS: Final = (_Place(CAMPAIGN, "import_lease_until", _IS_OPEN),)
_DAYS: Final = (_Place(ACCOUNT, "day_until"),)
#: What has happened: it cannot have been later than now.
_EVENTS: Final = (
    _Place(ACCOUNT, "breaker_at"),
    _Place(CAMPAIGN, "created_at"),
    _Place(CAMPAIGN, "started_at"),
    _Place(CAMPAIGN, "finished_at"),
    _Place(BATCH, "queued_at", _IN_FLIGHT),
    _Place(WORKER, "seen_at"),
)
_OF_ATTEMPTS: Final = (
    "begun_at", "ended_at", "deadline", "poll_until", "doubt_at", "reconcile_at",
)  # fmt: skip
_LOCK_ORDER: Final[Sequence[Table]] = (ACCOUNT, CAMPAIGN, BATCH, ATTEMPT, WORKER)


class _Cap(NamedTuple):
    """Times in a column that are later than `after` become `latest`: a time, or another column."""

    place: _Place
    after: datetime | ColumnElement[datetime]
    latest: datetime | ColumnElement[datetime]


def must_correct(last_tick: datetime | None, now: datetime) -> bool:
    """Whether `correct_times` has to run: after the clock went back, and once a minute."""
    return last_tick is None or last_tick > now or _minute_of(last_tick) != _minute_of(now)


def correct_times(
    conn: Connection, now: datetime, last_tick: datetime | None, lease_until: datetime
) -> None:
    """Correct what a clock that was ahead left behind; `last_tick` is the time of the last tick.

    If the clock was set back by more than a minute, nothing that was computed is waited for longer
    than a minute. Once a minute, times that can only come from a wrong clock are dropped. Runs in a
    transaction of its own, since it locks accounts, campaigns and batches.
    """
    if last_tick is not None and last_tick - now > _SHORT_WAIT:
        _apply(conn, _caps_after_a_set_back(now, lease_until))
        _move_attempts(conn, now, last_tick - now)
    elif last_tick is not None and last_tick > now:
        _apply(conn, _caps_after_a_step(now, lease_until))
    else:
        _apply(conn, _caps_of_the_impossible(now))


def _caps_after_a_step(now: datetime, lease_until: datetime) -> Iterable[_Cap]:
    """Otherwise a dead worker's batches would wait until the clock caught up."""
    yield _Cap(_Place(BATCH, "lease_until", _IN_FLIGHT), lease_until, lease_until)
    yield _Cap(_Place(BATCH, "queued_at", _IN_FLIGHT), now, now)


def _caps_after_a_set_back(now: datetime, lease_until: datetime) -> Iterable[_Cap]:
    for places, latest in (
        (_WAITS + _POLLS + _PAID, now + _SHORT_WAIT),
        (_LEASES, lease_until),
        (_IMPORTS, now + _IMPORT_LEASE),
        (_DAYS, now + _LONGEST_DAY),
        (_EVENTS, now),
    ):
        for place in places:
            yield _Cap(place, latest, latest)
    yield from _caps_of_rechecks(_IS_OPEN, now + _SHORT_WAIT)


def _caps_of_rechecks(where: ColumnElement[bool], soon: datetime) -> Iterable[_Cap]:
    """A check for a start that a person set is never later than that start.

    Without a start its time came from windows, by the wrong clock: the check is made early.
    """
    start = CAMPAIGN.c.start_at
    is_due = or_(start.is_(None), start <= soon)
    yield _Cap(_Place(CAMPAIGN, "recheck_at", where & is_due), soon, soon)
    yield _Cap(_Place(CAMPAIGN, "recheck_at", where & (start > soon)), start, start)


def _caps_of_the_impossible(now: datetime) -> Iterable[_Cap]:
    for places, longest, latest in (
        (_WAITS + _PAID + _LEASES, _LONGEST_WAIT, now),
        (_POLLS, _LONGEST_POLL, now),
        (_DAYS, _LONGEST_WAIT, now + _LONGEST_DAY),
    ):
        for place in places:
            yield _Cap(place, now + longest, latest)
    yield from _caps_of_rechecks(_IS_OPEN & (CAMPAIGN.c.created_at > now), now + _SHORT_WAIT)


def _apply(conn: Connection, caps: Iterable[_Cap]) -> None:
    for place, after, latest in sorted(caps, key=lambda cap: _LOCK_ORDER.index(cap.place.table)):
        column = place.table.c[place.name]
        conn.execute(
            update(place.table).where(place.where, column > after).values({column: latest})
        )


def _move_attempts(conn: Connection, now: datetime, set_back_by: timedelta) -> None:
    """Requests that began later than now: their times move back by as much as the clock did."""
    columns = [ATTEMPT.c[name] for name in _OF_ATTEMPTS]
    query = select(ATTEMPT.c.id, *columns).where(ATTEMPT.c.begun_at > now)
    moved = [
        {"of": attempt_id}
        | {
            f"new_{name}": None if at is None else at - set_back_by
            for name, at in zip(_OF_ATTEMPTS, times, strict=True)
        }
        for attempt_id, *times in conn.execute(query)
    ]
    if moved:
        given = {column: bindparam(f"new_{column.name}", type_=column.type) for column in columns}
        conn.execute(update(ATTEMPT).where(ATTEMPT.c.id == bindparam("of")).values(given), moved)


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
