"""Whole tables of a PostgreSQL store as COPY's text: for backups."""

from collections.abc import Iterable, Sequence
from typing import IO, NamedTuple

import psycopg
from psycopg import sql
from sqlalchemy import Connection, inspect, text

from dispatcher.store.fetching import fetch_all

_VERSION_TABLE = "alembic_version"


class _Sequence(NamedTuple):
    name: str
    last: int | None


def list_tables(conn: Connection) -> dict[str, list[str]]:
    """The store's tables and their columns, without Alembic's."""
    inspector = inspect(conn)
    names = sorted({*inspector.get_table_names()} - {_VERSION_TABLE})
    return {name: [column["name"] for column in inspector.get_columns(name)] for name in names}


def copy_out(conn: Connection, table: str, columns: Sequence[str], out: IO[bytes]) -> int:
    """Write a table's rows; how many."""
    rows = 0
    with (
        _driver(conn).cursor() as cursor,
        cursor.copy(_statement(table, columns, "TO STDOUT")) as copy,
    ):
        for block in copy:
            piece = bytes(block)
            rows += piece.count(b"\n")
            out.write(piece)
    return rows


def copy_in(conn: Connection, table: str, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
    """Insert rows that `copy_out` has written."""
    with (
        _driver(conn).cursor() as cursor,
        cursor.copy(_statement(table, columns, "FROM STDIN")) as copy,
    ):
        for block in blocks:
            copy.write(block)


def read_sequences(conn: Connection) -> dict[str, int]:
    """The last id that each table gave; tables that gave none are left out."""
    query = text(
        "SELECT sequencename AS name, last_value AS last FROM pg_sequences "
        "WHERE schemaname = current_schema()"
    )
    found = fetch_all(conn, _Sequence, query)
    return {one.name: one.last for one in found if one.last is not None}


def set_sequence(conn: Connection, name: str, last: int) -> None:
    """Let the next id of a table be the one after `last`."""
    conn.execute(
        text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": name, "last": last}
    )


def _statement(table: str, columns: Sequence[str], rest: str) -> sql.Composed:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    direction = sql.SQL("TO STDOUT") if rest == "TO STDOUT" else sql.SQL("FROM STDIN")
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), listed, direction)


def _driver(conn: Connection) -> "psycopg.Connection[tuple[object, ...]]":
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
