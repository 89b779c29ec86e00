"""Row types: every field is a column of its table, with the type that the column gives."""

from datetime import datetime
from decimal import Decimal
from inspect import getmembers, isclass
from types import NoneType
from typing import get_args, get_type_hints

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    func,
    insert,
    select,
)

from dispatcher.policy.fair_queue import Unit
from dispatcher.store import locks, row_parts, rows
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.fetching import columns_of, fetch_all, fetch_optional
from dispatcher.store.row_parts import BatchSpan
from dispatcher.store.rows import AccountRow
from dispatcher.store.tables import (
    ACCOUNT,
    ATTEMPT,
    AUDIT,
    BATCH,
    CAMPAIGN,
    IDENTITY,
    MESSAGE,
    NOTICE,
    REJECT,
    SCHEDULER,
    WORKER,
)

PYTHON_TYPES = {
    BigInteger: int, Boolean: bool, Double: float, Integer: int, LargeBinary: bytes, Money: Decimal,
    SmallInteger: int, Text: str, UtcTime: datetime,
}  # fmt: skip
#: A type for a whole row names every column.
WHOLE = {
    rows.AccountRow: ACCOUNT,
    rows.AttemptRow: ATTEMPT,
    rows.BatchRow: BATCH,
    rows.CampaignRow: CAMPAIGN,
    rows.IdentityRow: IDENTITY,
    rows.NoticeRow: NOTICE,
    rows.RejectRow: REJECT,
    rows.WorkerRow: WORKER,
}
PARTS = {
    locks.BatchHold: [BATCH],
    row_parts.AbandonedImport: [CAMPAIGN],
    row_parts.AnsweredMessage: [MESSAGE, ATTEMPT],
    row_parts.BatchSpan: [BATCH],
    row_parts.DoubtfulAttempt: [ATTEMPT, BATCH],
    row_parts.DoubtfulMessage: [MESSAGE],
    row_parts.CancelledAttempt: [ATTEMPT],
    row_parts.DueDoubt: [ATTEMPT],
    row_parts.DuePoll: [ATTEMPT],
    row_parts.ExportedMessage: [MESSAGE, ATTEMPT],
    row_parts.FallbackSwitch: [AUDIT],
    row_parts.InFlightBatch: [BATCH],
    row_parts.NextBatch: [BATCH],
    row_parts.OpenAttempt: [ATTEMPT],
    row_parts.OtherMessage: [MESSAGE, ATTEMPT],
    row_parts.PendingCampaign: [CAMPAIGN, BATCH],
    row_parts.PendingMessage: [MESSAGE],
    row_parts.PolledAttempt: [ATTEMPT, BATCH],
    row_parts.PollState: [ATTEMPT],
    row_parts.SubmittedMessage: [MESSAGE],
    row_parts.TickTimes: [SCHEDULER],
    row_parts.UnscheduledDoubt: [ATTEMPT, CAMPAIGN],
    row_parts.WaitingRow: [MESSAGE],
}
#: Their fields are sums, counts and rows, which the queries name.
SUMS = {
    row_parts.CampaignInDoubt,
    row_parts.DoubtOutlook,
    row_parts.OpenWork,
    row_parts.PollsInFlight,
    row_parts.PollTimes,
    row_parts.StateCount,
}
#: Fields whose query says more than the column: never NULL there, or NULL where nothing was joined.
NARROWER = {
    (row_parts.AnsweredMessage, "provider_message_id"),
    (row_parts.AnsweredMessage, "ended_at"),
    (row_parts.FallbackSwitch, "account"),
    (row_parts.FallbackSwitch, "detail"),
    (row_parts.PolledAttempt, "poll_until"),
}
WIDER = {(row_parts.ExportedMessage, "account"), (row_parts.ExportedMessage, "begun_at")}


def name_of(each):
    return each.__name__ if isclass(each) else ""


def type_of(column):
    kind = PYTHON_TYPES[type(column.type)]
    return {kind, NoneType} if column.nullable else {kind}


def types_of(hint):
    return set(get_args(hint)) or {hint}


def test_every_row_type_is_checked_here():
    named = {
        each for module in (rows, row_parts, locks) for _name, each in getmembers(module, isclass)
        if hasattr(each, "_fields") and each.__module__ == module.__name__
    }  # fmt: skip
    assert named == {*WHOLE, *PARTS, *SUMS}


@pytest.mark.parametrize(
    ("row_type", "table"),
    WHOLE.items(),
    ids=lambda each: each.__name__ if isclass(each) else each.name,
)
def test_a_whole_row_has_the_columns_of_its_table(row_type, table):
    hints = get_type_hints(row_type)
    assert row_type._fields == tuple(table.columns.keys())
    assert {name: types_of(hint) for name, hint in hints.items()} == {
        column.name: type_of(column) for column in table.columns
    }


@pytest.mark.parametrize(
    ("row_type", "tables"), PARTS.items(), ids=lambda each: each.__name__ if isclass(each) else ""
)
def test_a_part_of_a_row_has_the_types_of_its_columns(row_type, tables):
    for name, hint in get_type_hints(row_type).items():
        column = next(table.c[name] for table in tables if name in table.c)
        expected = type_of(column)
        if (row_type, name) in NARROWER:
            expected -= {NoneType}
        if (row_type, name) in WIDER:
            expected |= {NoneType}
        assert types_of(hint) == expected, name


def test_a_query_that_names_its_columns_in_another_order_is_refused(sqlite_store):
    swapped = select(*reversed(columns_of(BATCH, BatchSpan)))
    with sqlite_store.read() as conn, pytest.raises(AssertionError):
        fetch_all(conn, BatchSpan, swapped)


def test_a_column_that_is_computed_gets_the_name_of_the_field(sqlite_store):
    query = select(
        *columns_of(
            ATTEMPT, row_parts.PollTimes, n=func.count(), next_at=func.min(ATTEMPT.c.poll_at)
        )
    )
    with sqlite_store.read() as conn:
        assert fetch_optional(conn, row_parts.PollTimes, query) == row_parts.PollTimes(
            n=0, next_at=None
        )


def test_an_account_names_until_when_each_of_its_rates_is_used_up(sqlite_store):
    with sqlite_store.write() as conn:
        conn.execute(insert(ACCOUNT).values(name="main"))
        (account,) = fetch_all(conn, AccountRow, select(*columns_of(ACCOUNT, AccountRow)))
    until = {unit: f"{unit}_paid_until" for unit in Unit}
    marked = account._replace(**{name: name for name in until.values()})
    assert {unit: marked.paid_until(unit) for unit in Unit} == until
