"""Statements in both dialects: a set of rows as a table, rows inserted in bulk, later times."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Table,
    Text,
    cast,
    column,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from dispatcher.store.types import Money, UtcTime

#: Names and types of the columns of a set.
Columns: TypeAlias = Sequence[tuple[str, TypeEngine[Any]]]
#: A row of any columns.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
_SQLITE = sqlite.dialect()


def value_set(conn: Connection, columns: Columns, rows: Sequence[Sequence[Any]]) -> FromClause:
    """`rows` as a table `given` with the named columns, in one bind parameter a column or a set.

    `unnest` of arrays on PostgreSQL, `json_each` on SQLite.
    """
    if conn.dialect.name == "postgresql":
        arrays = [
            literal([row[i] for row in rows], ARRAY(kind))
            for i, (_name, kind) in enumerate(columns)
        ]
        return (
            func.unnest(*arrays)
            .table_valued(*(column(name, kind) for name, kind in columns))
            .render_derived(name="given")
        )
    prices = [i for i, (_name, kind) in enumerate(columns) if isinstance(kind, Money)]
    document = orjson.dumps(_without_decimals(rows, prices)).decode()
    each = func.json_each(document).table_valued("value")
    picked = [
        type_coerce(cast(func.json_extract(each.c.value, f"$[{i}]"), _affinity(kind)), kind).label(
            name
        )
        for i, (name, kind) in enumerate(columns)
    ]
    # The limit keeps SQLite from merging the set into the statement, where it would be read anew
    # for every row that it is compared with.
    return select(*picked).limit(-1).subquery("given")


def bulk_insert(
    conn: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert `rows` (values in the order of `names`): COPY on PostgreSQL, executemany on SQLite.

    Values must be what the driver takes: no UtcTime or Money columns.
    """
    columns: list[Column[Any]] = [table.c[name] for name in names]
    quote = conn.dialect.identifier_preparer.quote
    listed = ", ".join(quote(c.name) for c in columns)
    if conn.dialect.name == "postgresql":
        cursor = conn.connection.cursor()
        with cursor, cursor.copy(f"COPY {quote(table.name)} ({listed}) FROM STDIN") as copy:  # type: ignore[attr-defined]
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(columns))
    cursor = conn.connection.cursor()
    cursor.executemany(f"INSERT INTO {quote(table.name)} ({listed}) VALUES ({marks})", rows)  # noqa: S608 - names of our own tables
    cursor.close()


def _without_decimals(rows: Sequence[Sequence[Any]], prices: Sequence[int]) -> list[list[Any]]:
    """JSON has no decimals: prices go in as SQLite stores them, in whole millionths."""
    plain = [list(row) for row in rows]
    for i in prices:
        for row in plain:
            row[i] = Money().process_bind_param(row[i], _SQLITE)
    return plain


def _affinity(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return Integer() if isinstance(kind, (Integer, BigInteger, Money)) else Text()


def insert_or_ignore(conn: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert one row unless a row with its key exists; True where it was inserted."""
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(**values).on_conflict_do_nothing()
    # Without the option, psycopg's count of an INSERT is -1.
    done = conn.execute(statement, execution_options={"preserve_rowcount": True})
    return done.rowcount > 0


def later_of(conn: Connection, stored: Column[Any], moment: datetime) -> ColumnElement[Any]:
    """The later of what a column of times holds (NULL: nothing) and `moment`."""
    given = literal(moment, UtcTime())
    greatest = func.greatest if conn.dialect.name == "postgresql" else func.max
    return greatest(func.coalesce(stored, given), given)
