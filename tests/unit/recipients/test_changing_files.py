"""A file that changes while it is read is refused; what it was before is never half taken."""

import os

import pytest

from dispatcher.errors import Refused
from dispatcher.recipients.reader import open_recipients

ROWS = "".join(f"98200{n:05},Asha {n}\n" for n in range(30_000))


def appended(path):
    with path.open("a") as file:
        file.write("9820099999,late\n")


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_off_before_it_is_read_on(path):
    os.truncate(path, 400_000)


def emptied(path):
    path.write_bytes(b"")


def replaced(path):
    other = path.with_suffix(".new")
    other.write_text("phone,name\n" + ROWS.replace("Asha", "Usha"))
    other.replace(path)


def overwritten(path):
    with path.open("r+") as file:
        file.seek(path.stat().st_size - 1000)
        file.write("x")


def overwritten_where_it_was_read(path):
    with path.open("r+") as file:
        file.seek(20)
        file.write("7")


def removed(path):
    path.unlink()


CHANGES = [
    appended, cut_off, cut_off_before_it_is_read_on, emptied, replaced, overwritten,
    overwritten_where_it_was_read, removed,
]  # fmt: skip


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, change, codec):
    path = tmp_path / "people.csv"
    path.write_bytes(("phone,name\n" + ROWS).encode(codec))
    with open_recipients(path) as file:
        rows = iter(file)
        for _ in range(10):
            next(rows)
        change(path)
        with pytest.raises(Refused, match=r"people\.csv: the file changed while it was read"):
            list(rows)


def test_a_file_of_which_only_the_first_rows_are_wanted_is_checked_too(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("phone,name\n" + ROWS)
    with open_recipients(path) as file:
        next(iter(file))
        file.check_unchanged()
        appended(path)
        with pytest.raises(Refused, match="changed while it was read"):
            file.check_unchanged()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\n,\n", "\x1a"])
def test_a_file_with_or_without_its_last_line_break_is_whole(tmp_path, end):
    path = tmp_path / "people.csv"
    path.write_bytes(("phone,name\n" + ROWS.removesuffix("\n") + end).encode())
    with open_recipients(path) as file:
        assert sum(1 for _ in file) == 30_000
