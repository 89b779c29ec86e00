"""The messages about bad input: collected for a reviewer, each with what to do."""

from tests.messages import FILE, render_file


def test_the_collected_messages_are_up_to_date():
    assert FILE.read_text(encoding="utf-8") == render_file(), (
        "tests/messages.txt is out of date: run `python -m tests.messages --write`"
    )
