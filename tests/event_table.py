"""The table of logged events: `python -m tests.event_table` writes it into deploy/runbook.md."""

import logging
from pathlib import Path

from dispatcher.logs.events import LogEvent

PAGE = Path(__file__).parents[1] / "deploy" / "runbook.md"
HEAD = "| event | level | it means |\n|---|---|---|\n"


def render_rows() -> str:
    """The rows below its head."""
    return "".join(
        f"| `{event.label}` | {logging.getLevelName(event.level)} | {event.meaning} |\n"
        for event in LogEvent
    )


def split_page(text: str) -> tuple[str, str, str]:
    """The page down to the head, the rows, and what follows them."""
    before, head, rest = text.partition(HEAD)
    rows, gap, after = rest.partition("\n\n")
    return before + head, rows + gap[:1], gap[1:] + after


if __name__ == "__main__":
    before, _rows, after = split_page(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + render_rows() + after, encoding="utf-8")
