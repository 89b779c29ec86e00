"""Makes named tuples by the thousand, without a call of Python's for each."""

from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple, TypeVar

RowT = TypeVar("RowT", bound=NamedTuple)


def make_tuples(kind: type[RowT], rows: Iterable[Iterable[object]]) -> list[RowT]:
    """As `kind._make` for each of the rows, which all have its width; TypeError otherwise."""
    made = [*map(tuple.__new__, repeat(kind), rows)]
    if made and len(made[0]) != len(kind._fields):
        raise TypeError(f"{kind.__name__} has {len(kind._fields)} fields, not {len(made[0])}")
    return made
