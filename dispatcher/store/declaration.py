"""How tables are declared: as classes of SQLModel, from which most processes need only the tables.

Statements use Core tables, and nobody makes objects of rows. The classes alone would cost each
process 0.2 s at its start, for pydantic, the ORM and its mappers. So the declarations in
`schema/` make SQLModel's classes where `sqlmodel` was imported before, as the tests do, and
otherwise plain tables with the same columns. Indexes and constraints are made by migrations, and
left out of plain tables: their options would load the dialects of both databases.
"""

import sys
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import Index, MetaData, Table, text

HAS_MODELS: Final = "sqlmodel" in sys.modules

if TYPE_CHECKING or HAS_MODELS:
    from sqlmodel import Field, SQLModel
else:
    from sqlalchemy import Column

    class SQLModel:
        """In place of SQLModel: a class with columns becomes a table."""

        metadata = MetaData()

        def __init_subclass__(cls, *, table: bool) -> None:
            """Make the table of a class."""
            assert table
            columns = []
            for name, column in vars(cls).items():
                if isinstance(column, Column):
                    column.key = column.name = name
                    columns.append(column)
            cls.__table__ = Table(cls.__tablename__, SQLModel.metadata, *columns)

    def Field(*, default: object, sa_column: object) -> object:  # noqa: N802, ARG001
        """In place of SQLModel's: a column that is a field."""
        return sa_column


__all__ = ["HAS_MODELS", "Field", "SQLModel", "core_table", "partial_index"]


def core_table(model: type[SQLModel]) -> Table:
    """The Core table behind a model."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that meet a condition, on both databases."""
    condition: dict[str, Any] = {}
    if HAS_MODELS:
        condition = {"postgresql_where": text(where), "sqlite_where": text(where)}
    return Index(name, *columns, **condition)
