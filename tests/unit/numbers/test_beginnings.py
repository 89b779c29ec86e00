"""Many cells are read by how they begin: with the same result as one by one."""

import random

import phonenumbers
import pytest

from dispatcher.numbers.msisdn import MsisdnError, NumberReader

SEED = 20260506
SEPARATORS = ("", "", "", " ", "-", "(", ")", "/", ".", "  ", " - ")


def one_by_one(reader, cells):
    def read(cell):
        try:
            return reader.read(cell)
        except MsisdnError:
            return None

    return [read(cell) for cell in cells]


def near(number, chance):
    """The example number with its last digits replaced, so that its beginning is often known."""
    kept = chance.randint(max(1, len(number) - 6), len(number))
    changed = number[:kept] + "".join(chance.choices("0123456789", k=len(number) - kept))
    return changed[: chance.choice([len(changed)] * 9 + [len(changed) - 1])]


def cells_of(region, chance, count):
    """Cells as people write them: numbers near a region's mobile numbers, and random digits."""
    code = str(phonenumbers.country_code_for_region(region))
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
    nationals = [str(one.national_number) for one in examples if one is not None] or ["5551234"]
    for _ in range(count):
        national = near(chance.choice(nationals), chance)
        if chance.random() < 0.2:
            national = "".join(chance.choices("0123456789", k=chance.randint(4, 12)))
        prefix = chance.choice([f"+{code}", code, f"00{code}", "0", "", "+", "8", "1", "+521"])
        cell = prefix + national
        place = chance.randint(0, len(cell))
        yield cell[:place] + chance.choice(SEPARATORS) + cell[place:]


def disagreements(count, seed=SEED):
    """Cells of all regions that are read otherwise together than alone."""
    chance = random.Random(seed)
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    found = []
    for region in regions:
        cells = [*cells_of(region, chance, count)]
        for reader in (NumberReader(region), NumberReader(None), NumberReader("IN")):
            # Twice, so that beginnings are known the second time.
            reader.read_cells(cells)
            together, alone = reader.read_cells(cells), one_by_one(reader, cells)
            found += [
                (region, *each)
                for each in zip(cells, together, alone, strict=True)
                if each[1] != each[2]
            ]
    return found


def test_random_cells_of_all_regions_are_read_together_as_one_by_one():
    assert disagreements(3) == []


@pytest.mark.parametrize(
    ("country", "cell", "number"),
    [
        ("IN", "98200 11223", 919820011223),
        ("IN", "+919820011223", 919820011223),
        ("IN", "+4915112345678", 4915112345678),
        ("IN", "9820011223-3", None),
        ("IN", "98200٣٣٣٣٣", 919820033333),
        ("IN", "12", None),
        ("IN", "", None),
        (None, "919820011223", 919820011223),
        (None, "9820011223", None),
        ("MX", "+5215512345678", 525512345678),
    ],
)
def test_a_cell_among_others(country, cell, number):
    reader = NumberReader(country)
    assert reader.read_cells([cell] * 2) == [number] * 2 == one_by_one(reader, [cell] * 2)


if __name__ == "__main__":
    import sys

    print(*disagreements(int(sys.argv[1]), int(sys.argv[2])), sep="\n")


def test_a_cell_that_was_refused_with_others_is_refused_for_the_same_reason():
    reader = NumberReader("IN")
    cells = ["12", "+911140000000", "none", "98200 11223 / 98200 11224"]
    for cell in cells:
        with pytest.raises(MsisdnError) as alone:
            reader.read(cell)
        assert reader.read_cells([cell]) == [None]
        with pytest.raises(MsisdnError) as again:
            reader.read(cell)
        assert str(again.value) == str(alone.value)
