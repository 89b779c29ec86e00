"""A random sample of the rows that get messages, drawn while they stream past."""

import random

from dispatcher.recipients.preview import AcceptedRow, AcceptedRows


class TextSample:
    """Holds `size` rows, each of all rows added so far with the same chance, in the file's order.

    Source: reservoir sampling, Knuth, The Art of Computer Programming 2, section 3.4.2.
    """

    def __init__(self, size: int, chance: random.Random) -> None:
        self._size = size
        self._chance = chance
        self._seen = 0
        self._kept: list[AcceptedRow] = []

    @property
    def rows(self) -> list[AcceptedRow]:
        """The sample: all rows, if there are not more than its size."""
        return sorted(self._kept)

    def add_rows(self, accepted: AcceptedRows) -> None:
        """Let each of these rows into the sample by chance."""
        for place in range(len(accepted.rows)):
            self._seen += 1
            slot = self._chance.randrange(self._seen)
            if len(self._kept) < self._size:
                self._kept.append(_row_at(accepted, place))
            elif slot < self._size:
                self._kept[slot] = _row_at(accepted, place)


def _row_at(accepted: AcceptedRows, place: int) -> AcceptedRow:
    return AcceptedRow(*(column[place] for column in accepted.columns))
