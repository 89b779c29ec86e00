"""The statements that some work executes, on any store."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine, event


class Executed(NamedTuple):
    """A statement, what it was given, and whether it was executed row by row."""

    text: str
    parameters: object
    is_many: bool


def statements_of(work: Callable[[], object]) -> list[Executed]:
    """What `work`, such as a tick, executes, in order."""
    seen: list[Executed] = []

    def note(
        _conn: object, _cursor: object, text: str, given: object, _context: object, is_many: bool
    ) -> None:
        seen.append(Executed(text, given, is_many))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return seen
