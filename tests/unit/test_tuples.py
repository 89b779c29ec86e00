"""Named tuples by the thousand."""

from typing import NamedTuple

import pytest

from dispatcher.tuples import make_tuples


class Pair(NamedTuple):
    """Two values."""

    first: int
    second: str | None = None


def test_they_are_what_make_makes():
    rows = [(1, "a"), [2, None], iter((3, "c"))]
    made = make_tuples(Pair, rows)
    assert made == [Pair(1, "a"), Pair(2, None), Pair(3, "c")]
    assert {type(each) for each in made} == {Pair}
    assert make_tuples(Pair, []) == []


@pytest.mark.parametrize("row", [(1,), (1, "a", 2)])
def test_rows_of_another_width_are_refused(row):
    with pytest.raises(TypeError, match="Pair has 2 fields"):
        make_tuples(Pair, [row])
