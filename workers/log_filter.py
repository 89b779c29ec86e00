"""What Celery's processes log: masked, in the configured format, and not again and again.

A message repeated during an outage is logged every 30 s, with a count.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from celery import signals
from celery.beat import SchedulingError
from celery.exceptions import OperationalError
from redis.exceptions import RedisError

from dispatcher.errors import DispatcherError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.logs.formats import TEXT_FORMAT, set_up_handler
from workers.settings import get_settings

_EVERY_S: Final = 30.0
#: Formats remembered at most, in case a library makes formats from values.
_MAX_MESSAGES: Final = 500
#: Fields of an event in which messages of one format differ from each other.
_ABOUT: Final = ("event", "campaign", "account")
#: Errors that mean "the broker is away". A traceback through the library would not help.
_CONNECTION_ERRORS: Final = (OSError, OperationalError, RedisError, SchedulingError)


@contextmanager
def log_expected_errors(log: logging.Logger, event: LogEvent, what: str) -> Iterator[None]:
    """Let an expected error end the block: one line about `what` is logged, no traceback."""
    try:
        yield
    except DispatcherError as error:
        log_event(log, event, "%s: %s", what, error.in_one_line)


class DedupFilter(logging.Filter):
    """Shows the same message only once in `every_s` seconds.

    The same are those of one logger, level, format and error, about the same event, campaign and
    account. The next one says how many were left out. Messages below WARNING are all shown. A
    connection error is shown without its traceback.
    """

    def __init__(
        self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._shown: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is shown."""
        if record.levelno < logging.WARNING:
            return True
        raised = type(record.exc_info[1]).__name__ if record.exc_info else ""
        about = (record.__dict__.get(name) for name in _ABOUT)
        key = (record.name, record.levelno, f"{raised} {record.msg}"[:200], *about)
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


def set_up_flower_logs(argv: Sequence[str]) -> None:
    """Write Flower's lines, where this process is Flower, as those of the others are written.

    Flower sets up a handler of its own, for text, unless there is one.
    """
    if "flower" not in argv:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(TEXT_FORMAT))
    handler.addFilter(DedupFilter())
    settings = get_settings()
    set_up_handler(handler, settings.log.format, settings.secret_values())
    logging.getLogger().addHandler(handler)


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def set_up_celery_logs(logger: logging.Logger, **_: object) -> None:
    """Drop repeated messages and Celery's line for every tick; mask, and write what is wanted."""
    settings = get_settings()
    for handler in logger.handlers:
        handler.addFilter(DedupFilter())
        set_up_handler(handler, settings.log.format, settings.secret_values())
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)
