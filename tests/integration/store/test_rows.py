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
from dispatcher.store import rows
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.rows import AccountRow, BatchSpan, columns_of, fetch_all, fetch_optional
from dispatcher.store.tables import (
    ACCOUNT,
    ATTEMPT,
    AUDIT,
    BATCH,
    CAMPAIGN,
    IDENTITY,
    MESSAGE,
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
    rows.RejectRow: REJECT,
    rows.WorkerRow: WORKER,
}
PARTS = {
    rows.AbandonedImport: [CAMPAIGN],
    rows.AnsweredMessage: [MESSAGE, ATTEMPT],
    rows.BatchSpan: [BATCH],
    rows.DoubtfulAttempt: [ATTEMPT, BATCH],
    rows.DoubtfulMessage: [MESSAGE],
    rows.DuePoll: [ATTEMPT],
    rows.ExportedMessage: [MESSAGE, ATTEMPT],
    rows.FallbackSwitch: [AUDIT],
    rows.InFlightBatch: [BATCH],
    rows.LostClaim: [BATCH],
    rows.LostSubmission: [BATCH],
    rows.OpenAttempt: [ATTEMPT],
    rows.OtherMessage: [MESSAGE, ATTEMPT],
    rows.PendingCampaign: [CAMPAIGN, BATCH],
    rows.PendingMessage: [MESSAGE],
    rows.PolledAttempt: [ATTEMPT, BATCH],
    rows.PollState: [ATTEMPT],
    rows.SubmittedMessage: [MESSAGE],
    rows.TickTimes: [SCHEDULER],
    rows.UnscheduledDoubt: [ATTEMPT, CAMPAIGN],
    rows.WaitingRow: [MESSAGE],
}
#: Their fields are sums, counts and rows, which the queries name.
SUMS = {rows.DoubtOutlook, rows.OpenWork, rows.PollsInFlight, rows.PollTimes}
#: Fields whose query says more than the column: never NULL there, or NULL where nothing was joined.
NARROWER = {
    (rows.AnsweredMessage, "provider_message_id"),
    (rows.AnsweredMessage, "ended_at"),
    (rows.FallbackSwitch, "account"),
    (rows.FallbackSwitch, "detail"),
    (rows.PolledAttempt, "poll_until"),
}
WIDER = {(rows.ExportedMessage, "account"), (rows.ExportedMessage, "begun_at")}


def name_of(each):
    return each.__name__ if isclass(each) else ""


def type_of(column):
    kind = PYTHON_TYPES[type(column.type)]
    return {kind, NoneType} if column.nullable else {kind}


def types_of(hint):
    return set(get_args(hint)) or {hint}


def test_every_row_type_is_checked_here():
    named = {
        each for _name, each in getmembers(rows, isclass)
        if hasattr(each, "_fields") and each.__module__ == rows.__name__
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
        *columns_of(ATTEMPT, rows.PollTimes, n=func.count(), next_at=func.min(ATTEMPT.c.poll_at))
    )
    with sqlite_store.read() as conn:
        assert fetch_optional(conn, rows.PollTimes, query) == rows.PollTimes(n=0, next_at=None)


def test_an_account_names_until_when_each_of_its_rates_is_used_up(sqlite_store):
    with sqlite_store.write() as conn:
        conn.execute(insert(ACCOUNT).values(name="main"))
        (account,) = fetch_all(conn, AccountRow, select(*columns_of(ACCOUNT, AccountRow)))
    until = {unit: f"{unit}_paid_until" for unit in Unit}
    marked = account._replace(**{name: name for name in until.values()})
    assert {unit: marked.paid_until(unit) for unit in Unit} == until
