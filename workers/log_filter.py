"""Log filters: a message repeated during an outage is logged every 30 s, with a count."""

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
#: Formats remembered at most, in case a library makes formats from values.
_MAX_MESSAGES: Final = 500
#: Errors that mean "the broker is away". A traceback through the library would not help.
_CONNECTION_ERRORS: Final = (OSError, OperationalError, RedisError, SchedulingError)


@contextmanager
def log_expected_errors(log: logging.Logger, what: str) -> Iterator[None]:
    """Let an expected error end the block: one line about `what` is logged, no traceback."""
    try:
        yield
    except DispatcherError as error:
        log.error("%s: %s", what, error.in_one_line)


class DedupFilter(logging.Filter):
    """Shows the same message (logger, level, format, error) only once in `every_s` seconds.

    The next one says how many were left out. Messages below WARNING are all shown. A connection
    error is shown without its traceback.
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
