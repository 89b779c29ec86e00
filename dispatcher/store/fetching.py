"""Typed rows: a query takes its columns from a named tuple, and returns such tuples.

So names and order cannot differ, and a renamed column is an error in mypy, not in a running worker.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Executable, Table

RowT = TypeVar("RowT", bound=NamedTuple)
#: Values for a statement's bound parameters.
Parameters: TypeAlias = Mapping[str, object] | None
_ROWS_AT_ONCE: Final = 2000


def columns_of(
    table: Table, row_type: type[NamedTuple], **others: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """The columns that `row_type` names, in its order: of `table`, or among `others`."""
    return [
        others[name].label(name) if name in others else table.c[name] for name in row_type._fields
    ]


def fetch_one(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> RowT:
    """Execute a statement that returns exactly one row."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return row_type._make(result.one())


def fetch_optional(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> RowT | None:
    """Execute a statement that returns one row or none."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    row = result.one_or_none()
    return None if row is None else row_type._make(row)


def fetch_all(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> list[RowT]:
    """Execute a statement and return its rows."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return [row_type._make(row) for row in result]


def iterate_rows(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> Iterator[RowT]:
    """Like `fetch_all` where all rows together might not fit into memory."""
    options = {"yield_per": _ROWS_AT_ONCE}
    result = conn.execute(statement, parameters, execution_options=options)
    assert tuple(result.keys()) == row_type._fields
    yield from map(row_type._make, result)


def fetch_messages(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> Sequence[RowT]:
    """Like `fetch_all` for thousands of rows: no object is made besides SQLAlchemy's own rows.

    They have the fields of `row_type`, but not its methods.
    """
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return cast("Sequence[RowT]", result.all())


def fetch_driver_rows(
    conn: Connection, statement: Executable, parameters: Parameters = None
) -> list[tuple[Any, ...]]:
    """The rows as the driver returns them: UtcTime and Money columns have the database's values."""
    with conn.execute(statement, parameters) as result:
        assert result.cursor is not None
        return cast("list[tuple[Any, ...]]", result.cursor.fetchall())
