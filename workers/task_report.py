"""What a task did, in words: its result in Flower, or the reason why it is shown as failed.

The words hold ids, names of accounts and counts, never numbers, texts or keys.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from dispatcher.errors import DispatcherError
from dispatcher.logs.events import EventFields, LogEvent, log_event


class TaskFailed(Exception):
    """A task did not do all of its work. It was logged; nothing is retried because of it."""


class TaskReport:
    """Collects what a task does.

    ```python
    report = TaskReport()
    with report.log_errors(log, LogEvent.BATCH_NOT_SUBMITTED, "batch 7", batch=7):
        report.note("campaign 11, main: 2000 accepted")
    return report.finish()
    ```
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._has_failed = False

    def note(self, words: str) -> None:
        """Add a sentence."""
        self._words.append(words)

    def fail(self, words: str) -> None:
        """Add a sentence about what went wrong."""
        self._words.append(words)
        self._has_failed = True

    @contextmanager
    def log_errors(
        self, log: logging.Logger, event: LogEvent, what: str, **fields: Unpack[EventFields]
    ) -> Iterator[None]:
        """Let an expected error end the block: it is logged in one line, and the task failed."""
        try:
            yield
        except DispatcherError as error:
            log_event(log, event, "%s: %s", what, error.in_one_line, **fields)
            self.fail(f"{what}: {error.in_one_line}")

    def finish(self) -> str:
        """The result of the task. Raises TaskFailed with it if something went wrong."""
        words = "; ".join(self._words) or "nothing to do"
        if self._has_failed:
            raise TaskFailed(words)
        return words
