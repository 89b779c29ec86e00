"""What SQLite and PostgreSQL write differently: rows as a table parameter, bulk inserts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from typing import cast as cast_type

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    LargeBinary,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from dispatcher.store.column_types import Money, UtcTime, to_microseconds, to_millionths

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

#: Names and types of a table parameter's columns.
ColumnTypes: TypeAlias = Sequence[tuple[str, TypeEngine[Any]]]
#: Of packed texts: places for each text, and bytes for each of their bytes.
_MOST_PLACES, _MOST_WIDER = 2, 4


class TableParameter:
    """Rows as the table `given`, for a statement that is built once per dialect.

    `to_parameters` returns what the statement is executed with. PostgreSQL has one parameter per
    column (`unnest` of arrays), SQLite one for all (`json_each`).
    """

    def __init__(self, dialect: str, columns: ColumnTypes) -> None:
        self._columns = columns
        self._has_arrays = dialect == "postgresql"
        if self._has_arrays:
            arrays = [bindparam(f"given_{name}", type_=_array_of(kind)) for name, kind in columns]
            self.table = _unnest_arrays(columns, arrays)
        else:
            self.table = _select_json_rows(columns, bindparam("given", type_=Text()))

    def to_parameters(self, rows: Sequence[Sequence[object]]) -> dict[str, object]:
        """The parameters for these rows, values in the order of the columns."""
        if self._has_arrays:
            return self._to_arrays([*zip(*rows, strict=True)] or [()] * len(self._columns))
        return {"given": _to_json(self._columns, rows)}

    def columns_to_parameters(self, *columns: Sequence[object]) -> dict[str, object]:
        """The parameters for these columns, none of them prices: for thousands of rows."""
        if self._has_arrays:
            return self._to_arrays(columns)
        return {"given": orjson.dumps([*zip(*columns, strict=True)]).decode()}

    def _to_arrays(self, columns: Sequence[Sequence[object]]) -> dict[str, object]:
        return {
            f"given_{name}": [*values]
            for (name, _kind), values in zip(self._columns, columns, strict=True)
        }


class NumbersParameter:
    """Numbers as one parameter, for a statement that is built once per dialect."""

    def __init__(self, dialect: str, name: str) -> None:
        self._name = name
        self._has_arrays = dialect == "postgresql"

    def contains(self, column: Column[Any]) -> ColumnElement[bool]:
        """The condition that a column is one of the numbers."""
        if self._has_arrays:
            # As text: the driver takes a microsecond for each number of a list.
            given = bindparam(self._name, type_=Text())
            return column == any_(cast(given, _array_of(column.type)))
        numbers = func.json_each(bindparam(self._name, type_=Text())).table_valued("value")
        return column.in_(select(numbers.c.value))

    def to_parameters(self, numbers: Collection[int]) -> dict[str, object]:
        """The parameter for these numbers."""
        given = orjson.dumps([*numbers]).decode()
        return {self._name: f"{{{given[1:-1]}}}" if self._has_arrays else given}


class PackedTexts:
    """A short text for each row of a range of numbers, as one parameter of a statement.

    Each takes as many bytes as the longest, so the store finds one by its place. To join rows takes
    SQLite four times as long. PostgreSQL joins as fast while it knows how many rows there are; but
    it takes those of a request that is newer than its statistics for one, and then compares each
    with each. `column` has a row's number.
    """

    def __init__(self, column: Column[int], dialect: str) -> None:
        first, last, width = (
            bindparam(f"packed_{name}", type_=Integer()) for name in ("first", "last", "width")
        )
        place = (column - first) * width + literal_column("1")
        packed = bindparam("packed", type_=LargeBinary())
        begins = func.substr(packed, place, literal_column("1"), type_=LargeBinary())
        #: The condition that a row has a text.
        self.has_text = column.between(first, last) & (begins != literal(b" ", LargeBinary()))
        text = func.substr(packed, place, width, type_=LargeBinary())
        plain = (
            func.convert_from(text, literal_column("'UTF8'"), type_=Text())
            if dialect == "postgresql"
            else cast(text, Text())
        )
        #: A row's text.
        self.text: ColumnElement[str] = func.rtrim(plain, type_=Text())

    @staticmethod
    def to_parameters(
        numbers: Sequence[int], texts: Sequence[str | None]
    ) -> dict[str, object] | None:
        """The parameters for the texts of these numbers.

        None where they cannot be packed, or not well: a text is missing, empty, not ASCII or has a
        space, a number comes twice, or most of the range has no text.
        """
        if not numbers or None in texts:
            return None
        given = dict(zip(numbers, cast_type("Sequence[str]", texts), strict=True))
        first, last = min(given), max(given)
        size, width = last - first + 1, max(map(len, given.values()))
        joined = "".join(given.values())
        if (
            len(given) < len(numbers)
            or size > _MOST_PLACES * len(given)
            or width * len(given) > _MOST_WIDER * len(joined)
            or not joined.isascii()
            or not joined.isprintable()
            or " " in joined
            or not all(given.values())
        ):
            return None
        padded = [given.get(number, "").ljust(width) for number in range(first, last + 1)]
        packed = "".join(padded).encode("ascii")
        return {
            "packed": packed,
            "packed_first": first,
            "packed_last": last,
            "packed_width": width,
        }


def literal_table(
    conn: Connection, columns: ColumnTypes, rows: Sequence[Sequence[object]]
) -> FromClause:
    """Rows as the table `given` with these columns, for a statement that is built for them."""
    if conn.dialect.name == "postgresql":
        arrays = [
            literal([row[i] for row in rows], _array_of(kind))
            for i, (_name, kind) in enumerate(columns)
        ]
        return _unnest_arrays(columns, arrays)
    return _select_json_rows(columns, literal(_to_json(columns, rows)))


def _array_of(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    # Imported here: on SQLite nobody needs PostgreSQL's dialect.
    from sqlalchemy.dialects.postgresql import ARRAY

    return ARRAY(kind)


def _unnest_arrays(columns: ColumnTypes, arrays: Sequence[ColumnElement[Any]]) -> FromClause:
    return (
        func.unnest(*arrays)
        .table_valued(*(column(name, kind) for name, kind in columns))
        .render_derived(name="given")
    )


def _select_json_rows(columns: ColumnTypes, document: ColumnElement[str]) -> FromClause:
    each = func.json_each(document).table_valued("value")
    picked = [
        type_coerce(
            cast(func.json_extract(each.c.value, f"$[{i}]"), _sqlite_affinity(kind)), kind
        ).label(name)
        for i, (name, kind) in enumerate(columns)
    ]
    # The limit keeps SQLite from merging this into the statement, where it would parse the JSON
    # again for every row that it compares.
    return select(*picked).limit(-1).subquery("given")


def _to_json(columns: ColumnTypes, rows: Sequence[Sequence[object]]) -> str:
    """Rows as JSON. It has no decimals and times: these are whole numbers, as SQLite has them."""
    odd = [i for i, (_name, kind) in enumerate(columns) if isinstance(kind, Money | UtcTime)]
    plain = [list(row) for row in rows]
    for i in odd:
        for row in plain:
            row[i] = _to_whole_number(row[i])
    return orjson.dumps(plain).decode()


def _to_whole_number(value: object) -> object:
    if isinstance(value, Decimal):
        return to_millionths(value)
    return to_microseconds(value) if isinstance(value, datetime) else value


def bulk_insert(
    conn: Connection,
    table: Table,
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    fixed: Mapping[str, int] | None = None,
) -> None:
    """Insert `rows` (values in the order of `names`): COPY on PostgreSQL, executemany on SQLite.

    `fixed` has the columns with the same value in all rows. The driver gets the values as they are,
    so UtcTime and Money columns cannot be filled.
    """
    fixed = fixed or {}
    columns: list[Column[Any]] = [table.c[name] for name in (*fixed, *names)]
    quote = conn.dialect.identifier_preparer.quote
    listed = ", ".join(quote(c.name) for c in columns)
    if conn.dialect.name == "postgresql":
        same = tuple(fixed.values())
        cursor = conn.connection.cursor()
        with cursor, cursor.copy(f"COPY {quote(table.name)} ({listed}) FROM STDIN") as copy:  # type: ignore[attr-defined]
            for row in rows:
                copy.write_row((*same, *row) if same else row)
        return
    marks = ", ".join([*(f"{value:d}" for value in fixed.values()), *"?" * len(names)])
    cursor = conn.connection.cursor()
    statement = f"INSERT INTO {quote(table.name)} ({listed}) VALUES ({marks})"  # noqa: S608 - names of our own tables
    cursor.executemany(statement, cast_type("Sequence[Sequence[Any]]", rows))
    cursor.close()


def insert_columns(
    conn: Connection,
    table: Table,
    names: Sequence[str],
    columns: Sequence[Sequence[object]],
    *,
    fixed: Mapping[str, int],
) -> None:
    """Insert rows on SQLite by one statement: as `bulk_insert`, with a column for each of `names`.

    Other threads of this process compute meanwhile: `executemany` hands Python's lock over for each
    row. What fails undoes the whole transaction, so that SQLite need not copy each page that the
    statement changes; a function, such as of a JSON document, would make it do so all the same.
    """
    count, width = len(columns[0]), len(columns)
    marks = ", ".join([*(f"{value:d}" for value in fixed.values()), *"?" * width])
    listed = ", ".join(map(conn.dialect.identifier_preparer.quote, [*fixed, *names]))
    given: list[object] = [None] * (count * width)
    for place, column_values in enumerate(columns):
        given[place::width] = column_values
    all_marks = ", ".join([f"({marks})"] * count)
    conn.exec_driver_sql(
        f"INSERT OR ROLLBACK INTO {table.name} ({listed}) VALUES {all_marks}",  # noqa: S608 - names of our own tables
        tuple(given),
    )


def _sqlite_affinity(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return Integer() if isinstance(kind, Integer | Money | UtcTime) else Text()


def insert_or_ignore(conn: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert one row unless a row with its key exists. True where it was inserted."""
    statement = _insert_statement(conn, table).values(**values).on_conflict_do_nothing()
    # Without this option psycopg reports -1 rows for an INSERT.
    done = conn.execute(statement, execution_options={"preserve_rowcount": True})
    return done.rowcount > 0


def insert_all_or_ignore(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, except those whose key exists."""
    if rows:
        conn.execute(_insert_statement(conn, table).on_conflict_do_nothing(), rows)


def later_of(dialect: str, stored: Column[Any], moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """The later of a stored time and `moment`; `moment` where NULL is stored."""
    greatest = func.greatest if dialect == "postgresql" else func.max
    return greatest(func.coalesce(stored, moment), moment)


def _insert_statement(conn: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT of the database's own kind, which can leave out rows whose key exists."""
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    return insert(table)
