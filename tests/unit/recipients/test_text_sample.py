"""A sample of texts: random, without repetition, and the whole list if it is short."""

import random
from collections import Counter

from dispatcher.recipients.preview import AcceptedRows
from dispatcher.recipients.text_sample import TextSample
from dispatcher.status import Encoding


def block(numbers):
    count = len(numbers)
    return AcceptedRows(
        rows=[*numbers],
        msisdns=[919820000000 + number for number in numbers],
        texts=[f"Dear {number}" for number in numbers],
        encodings=[Encoding.GSM7] * count,
        parts=[1] * count,
        variables=[None] * count,
        cells=[[]] * count,
        sizes_bytes=[1] * count,
        zones=[None] * count,
    )


def test_a_short_list_is_its_own_sample():
    sample = TextSample(5, random.Random(1))
    sample.add_rows(block([2, 3]))
    sample.add_rows(block([4]))
    assert [row.row for row in sample.rows] == [2, 3, 4]
    assert sample.rows[2].text == "Dear 4"


def test_every_row_has_the_same_chance_over_blocks_of_any_size():
    drawn = Counter()
    chance = random.Random(7)
    for _ in range(3000):
        sample = TextSample(2, chance)
        for numbers in ([1], [2, 3, 4, 5], [6, 7, 8], [9, 10]):
            sample.add_rows(block(numbers))
        rows = [row.row for row in sample.rows]
        assert len({*rows}) == 2
        drawn.update(rows)
    assert all(500 < drawn[row] < 700 for row in range(1, 11)), drawn
