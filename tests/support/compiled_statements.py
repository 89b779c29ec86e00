"""Stores of one process share what SQLAlchemy has compiled of statements, as one store does.

A process of the program has one store. A process of the tests has one per test: compiling for each
of them anew takes two fifths of the time of the tests that compute.
"""

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

#: By dialect and statement: the program has a few hundred.
_COMPILED: dict[Any, Any] = {}


class _EqualDialect:
    """A dialect is part of the key of what was compiled: it equals those for the same server."""

    server_version_info: tuple[int, ...] | None = None

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=_COMPILED)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.server_version_info == self.server_version_info

    def __hash__(self) -> int:
        return hash((type(self), self.server_version_info))


class SQLiteDialect(_EqualDialect, SQLiteDialect_pysqlite):
    """SQLite's, in the `sqlite3` module."""

    # Only a class's own word counts.
    supports_statement_cache = True
    #: How values of each type are passed and read.
    _type_memos: ClassVar[WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()


class PostgresDialect(_EqualDialect, PGDialect_psycopg):
    """PostgreSQL's, over psycopg 3."""

    supports_statement_cache = True
    _type_memos: ClassVar[WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()


def share_compiled_statements() -> None:
    """Let all engines that this process makes from now on share what is compiled."""
    registry.register("sqlite", __name__, SQLiteDialect.__name__)
    registry.register("postgresql.psycopg", __name__, PostgresDialect.__name__)
