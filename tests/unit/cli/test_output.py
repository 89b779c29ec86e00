"""What is printed: harmless text, aligned tables, exact JSON."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dispatcher.cli.output import pluralize, print_json, print_line, print_table, safe_text
from dispatcher.status import Kind
from tests.support.terminal import on_terminal


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain words", "plain words"),
        ("नमस्ते क्‍ष", "नमस्ते क्‍ष"),
        ("\x1b[31mred\x1b]0;title\x07", "[31mred]0;title"),
        ("a\x9bb", "ab"),
        ("one\ntwo\rthree\tfour\u2028five", "one two three four five"),
        ("pay \u202egnp.exe\u202c \u2066x\u2069", "pay gnp.exe x"),
        ("half \ud800", "half "),
        (None, ""),
        (7, "7"),
    ],
)
def test_text_from_others_cannot_control_a_terminal(given, shown):
    assert safe_text(given) == shown


def test_a_table_is_plain_and_uncut_where_there_is_no_terminal(capsys):
    print_table(("name", "amount"), [("x" * 200, 5), ("[b]y\x1b[0m", Decimal("12.5"))])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "name" + " " * 196 + "  amount",
        "x" * 200 + "       5",
        "[b]y[0m" + " " * 193 + "    12.5",
    ]


def test_on_a_narrow_terminal_spare_columns_go_first_and_one_column_takes_the_breaks():
    code = (
        "from dispatcher.cli.output import print_table\n"
        "print_table(('id', 'state', 'account', 'what'),"
        " [(1, 'finished', 'a-long-account-name', 'several words that do not fit')],"
        " spare=('account',))"
    )
    lines = shown_by(code).splitlines()
    assert lines[0].split() == ["id", "state", "what"]
    assert lines[2].split()[:2] == ["1", "finished"]
    assert max(map(len, lines)) <= 40
    words = " ".join(line[14:].strip() for line in lines[2:])
    assert words.strip() == "several words that do not fit"


def test_an_empty_table_has_its_heading(capsys):
    print_table(("name", "amount"), [])
    assert capsys.readouterr().out == "name  amount\n"


def test_json_is_ascii_and_exact(capsys):
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    print_json({"at": moment, "left": Decimal("0.10"), "kind": Kind.OTP, "text": "\x9b क"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {
        "at": "2026-01-02T03:04:00.000Z",
        "left": "0.10",
        "kind": "otp",
        "text": "\x9b क",
    }


def shown_by(code: str) -> str:
    """What `code` shows on a terminal of 40 columns."""
    return on_terminal(["-c", code]).shown


def test_a_table_is_sized_to_the_terminal():
    code = (
        "from dispatcher.cli.output import print_table\n"
        "print_table(('name', 'text'), [('a', 'word ' * 20), ('b', '[red]markup')])"
    )
    shown = shown_by(code)
    assert "[red]markup" in shown
    assert shown.count("word") == 20
    assert max(len(line) for line in shown.splitlines()) <= 40


def test_a_long_line_is_broken_between_words_on_a_terminal_only(capsys):
    line = "  row 7: the reason is " + "rather " * 10 + "long"
    shown = shown_by(f"from dispatcher.cli.output import print_line\nprint_line({line!r}, '    ')")
    first, *rest = shown.splitlines()
    assert first.startswith("  row 7: ")
    assert all(each.startswith("    ") for each in rest)
    assert shown.split() == line.split()
    assert max(len(each) for each in (first, *rest)) <= 40
    print_line(line, "    ")
    assert capsys.readouterr().out == line + "\n"


def test_one_is_counted_in_the_singular():
    assert [pluralize(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
