"""What a command says while it runs, and what its processes print: as text, or as lines of JSON."""

from collections.abc import Callable
from typing import Protocol

from dispatcher.logs.events import LogEvent
from dispatcher.logs.formats import LogFormat


class Console(Protocol):
    """Where a command and its processes are heard."""

    def announce(self, event: LogEvent, words: str) -> None:
        """Say what the command itself does."""

    def show_line(self, process: str, line: str) -> None:
        """Show a line that one of its processes has printed."""


class TextConsole:
    """For people: the command's words as they are, and the name of a process before its lines."""

    def __init__(self, echo: Callable[[str], object]) -> None:
        self._echo = echo

    def announce(self, event: LogEvent, words: str) -> None:
        """Say what the command itself does."""
        del event
        self._echo(words)

    def show_line(self, process: str, line: str) -> None:
        """Show a line that one of its processes has printed."""
        self._echo(f"{process}| {line}")


class JsonConsole:
    """For programs: every line is an object; in those of a process its name comes first."""

    def __init__(self, echo: Callable[[str], object]) -> None:
        from dispatcher.logs.json_lines import JsonLines

        self._echo = echo
        self._formatter = JsonLines()

    def announce(self, event: LogEvent, words: str) -> None:
        """Say what the command itself does."""
        from dispatcher.logs.json_lines import format_event

        self._echo(format_event(self._formatter, event, words.strip()))

    def show_line(self, process: str, line: str) -> None:
        """Show a line that one of its processes has printed."""
        import orjson

        head = f'{{"process":{orjson.dumps(process).decode()},'
        if line.startswith('{"') and line.endswith("}"):
            self._echo(head + line[1:])
        elif line.strip():
            self._echo(f'{head}"message":{orjson.dumps(line).decode()}}}')


def make_console(wanted: LogFormat, echo: Callable[[str], object]) -> Console:
    """A console for JSON where the configuration says so, else for people."""
    return JsonConsole(echo) if wanted == "json" else TextConsole(echo)
