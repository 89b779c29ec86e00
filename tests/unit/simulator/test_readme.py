"""The simulator's README names every fault, parameter and magic number, and no other."""

import re
from pathlib import Path

from dispatcher.simulator.faults import FAULTS
from dispatcher.simulator.receipts import MAGIC_FATES, MAGIC_MISSING

README = (Path(__file__).parents[3] / "dispatcher/simulator/README.md").read_text("utf-8")


def table(heading):
    """The cells of each row under the table's `heading`."""
    rows = README.partition(f"| {heading}")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def quoted(cell):
    return re.findall("`([a-z_]+)`", cell)


def test_every_fault_stands_in_one_row_of_the_table():
    named = [name for row in table("faults | what they do") for name in quoted(row[0])]
    assert sorted(named) == sorted(FAULTS)


def test_every_parameter_stands_beside_its_fault_with_its_default():
    shown = {}
    for faults, params in table("faults | params"):
        for place, name in enumerate(quoted(faults)):
            values = {}
            for param, given in re.findall(r'`([a-z_]+)` ((?:"[^"]+"|[\d.]+)(?:, \d+)?)', params):
                each = given.split(", ")
                values[param] = each[min(place, len(each) - 1)].strip('"')
            shown[name] = values

    assert shown == {
        name: {param: str(value) for param, value in kind.params.items()}
        for name, kind in FAULTS.items()
        if kind.params
    }


def test_every_magic_number_stands_in_the_table():
    numbers = [int(row[0].removeprefix("…")) for row in table("number")]
    assert numbers == [*MAGIC_FATES, MAGIC_MISSING]
