"""A question is asked where a person can answer it; a script is not asked."""

import io
import sys

import pytest

from dispatcher.cli.question import require_yes
from tests.support.terminal import on_terminal

QUESTION = "Send 5 messages? [y/N]:"
OTHERWISE = "nothing was sent"


def asked(*, is_piped=False, call=None, **options):
    """A command that asks, on a terminal."""
    call = call or f"require_yes('Send 5 messages?', False, otherwise={OTHERWISE!r}, {is_piped=})"
    code = (
        "from dispatcher.cli.exit import report_errors\n"
        "from dispatcher.cli.question import require_number, require_yes\n"
        "import click\n"
        "@click.command()\n"
        "def command():\n"
        "    with report_errors():\n"
        f"        {call}\n"
        "        print('it went on')\n"
        "command()\n"
    )
    return on_terminal(["-c", code], **options)


@pytest.mark.parametrize("is_piped", [False, True])
@pytest.mark.parametrize(
    ("typed", "goes_on"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("what?\ny\n", True)],
)
def test_a_person_at_a_terminal_is_asked_even_if_the_file_is_piped(typed, goes_on, is_piped):
    piped = b"phone\n919800000001\n" if is_piped else None
    session = asked(is_piped=is_piped, piped=piped, typed=typed, after=QUESTION)
    assert session.shown.count(QUESTION) == (2 if "?" in typed else 1)
    assert ("it went on" in session.shown, OTHERWISE in session.shown) == (goes_on, not goes_on)
    assert session.code == (0 if goes_on else 3)


@pytest.mark.parametrize("piped", [None, b""])
@pytest.mark.parametrize("typed", ["\x03", "\x04"], ids=["ctrl-c", "end-of-input"])
def test_ctrl_c_at_the_question_says_what_holds_then(typed, piped):
    session = asked(is_piped=piped is not None, piped=piped, typed=typed, after=QUESTION)
    assert f"Interrupted: {OTHERWISE}" in session.shown
    assert session.code == 130


def test_without_a_terminal_a_piped_file_is_not_asked_about():
    session = asked(is_piped=True, piped=b"", controls=False)
    assert (session.shown, session.code) == ("it went on\n", 0)


def test_a_pipe_that_is_not_the_file_is_a_script():
    session = asked(is_piped=False, piped=b"")
    assert (session.shown, session.code) == ("it went on\n", 0)


def test_yes_and_scripts_are_not_asked(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    require_yes("Send?", False, otherwise=OTHERWISE)
    require_yes("Send?", True, otherwise=OTHERWISE)
    monkeypatch.setattr(sys, "stdin", None)
    require_yes("Send?", False, otherwise=OTHERWISE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("typed", "goes_on"),
    [("12000\n", True), ("12,000 \n", True), ("y\n", False), ("1200\n", False)],
)
def test_a_large_number_has_to_be_typed(typed, goes_on):
    call = f"require_number('Type it', 12000, otherwise={OTHERWISE!r})"
    session = asked(call=call, typed=typed, after="Type it:")
    assert ("it went on" in session.shown) is goes_on
    assert (OTHERWISE in session.shown) is not goes_on
