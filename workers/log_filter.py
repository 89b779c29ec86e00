"""Quiet: what an outage repeats every second is logged every half minute, with a count."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from celery.beat import SchedulingError
from celery.exceptions import OperationalError
from redis.exceptions import RedisError

from dispatcher.errors import DispatcherError

_EVERY_S: Final = 30.0
#: Formats that vary are few; a library that made them from values must not fill the memory.
_MAX_MESSAGES: Final = 500
#: The broker is away, says one or the other library: where in its code is of no use.
_CONNECTION_ERRORS: Final = (OSError, OperationalError, RedisError, SchedulingError)


@contextmanager
def log_expected_errors(log: logging.Logger, what: str) -> Iterator[None]:
    """An expected error ends the block as one line about `what`, without a traceback."""
    try:
        yield
    except DispatcherError as error:
        log.error("%s: %s", what, error.in_one_line)


class DedupFilter(logging.Filter):
    """Lets the same message (by logger, level, format, error) through once in `every_s` seconds.

    The next one says how many were left out. Nothing below WARNING is held back, and no traceback
    is shown of a connection that is away.
    """

    def __init__(
        self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._shown: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is shown."""
        if record.levelno < logging.WARNING:
            return True
        raised = type(record.exc_info[1]).__name__ if record.exc_info else ""
        key = (record.name, record.levelno, f"{raised} {record.msg}"[:200])
        if record.exc_info and isinstance(record.exc_info[1], _CONNECTION_ERRORS):
            record.msg, record.args = record.getMessage().partition("\n")[0], ()
            record.exc_info = record.exc_text = None
        now = self._clock()
        last, left_out = self._shown.get(key, (-self._every_s, 0))
        if now - last < self._every_s:
            self._shown[key] = (last, left_out + 1)
            return False
        if len(self._shown) >= _MAX_MESSAGES:
            self._shown.clear()
        self._shown[key] = (now, 0)
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} more like it)"
            record.args = ()
        return True
