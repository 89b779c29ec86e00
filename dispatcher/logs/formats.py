"""Which format lines have, and the handlers that write them."""

import logging
import sys
from collections.abc import Collection
from typing import Final, Literal

from dispatcher.logs.masking import MaskingFilter

#: `auto`: text at a terminal, JSON anywhere else.
LogFormat = Literal["auto", "text", "json"]
#: Of the lines of processes that Celery does not set up.
TEXT_FORMAT: Final = "[%(asctime)s: %(levelname)s] %(message)s"


def set_up_handler(
    handler: logging.Handler, wanted: LogFormat, secrets: Collection[str] = ()
) -> None:
    """Mask what a handler writes, and write JSON if that is wanted; else its format stays."""
    handler.addFilter(MaskingFilter(secrets))
    if wanted == "json" or (wanted == "auto" and not _is_at_terminal(handler)):
        from dispatcher.logs.json_lines import JsonLines

        handler.setFormatter(JsonLines())


def set_up_logs(wanted: LogFormat, secrets: Collection[str]) -> None:
    """Write the lines of a process that is not Celery's to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(TEXT_FORMAT))
    set_up_handler(handler, wanted, secrets)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("dispatcher").setLevel(logging.INFO)


def _is_at_terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
