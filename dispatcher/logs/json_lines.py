"""Lines of JSON. Imported only where lines are JSON."""

import logging
from typing import Any, Final

from pythonjsonlogger.orjson import OrjsonFormatter

from dispatcher.logs.events import LogEvent

#: What a line may have, in this order: what libraries add to their records is not shown.
_FIELDS: Final = (
    "time", "level", "event", "campaign", "batch", "attempt", "account", "message", "logger",
    "pid", "traceback",
)  # fmt: skip
#: What `logging` calls them.
_RENAMED: Final = {
    "levelname": "level",
    "name": "logger",
    "process": "pid",
    "exc_info": "traceback",
}


class JsonLines(OrjsonFormatter):
    """One object for each line: its time in UTC, its level and message, the fields of its event."""

    def __init__(self) -> None:
        named = ["levelname", "message", "name", "process"]
        super().__init__(named, rename_fields=_RENAMED, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is not known."""
        return {name: log_data[name] for name in _FIELDS if log_data.get(name) is not None}


def format_event(formatter: JsonLines, event: LogEvent, words: str) -> str:
    """The line of an event that a command says on its standard output."""
    level = logging.getLevelName(event.level)
    return formatter.format(
        logging.makeLogRecord(
            {"name": "dispatcher", "levelname": level, "msg": words, "event": event.label}
        )
    )
