"""How the command line ends when something goes wrong: a sentence, a hint, an exit code."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from dispatcher import __version__
from dispatcher.cli.output import safe_text
from dispatcher.errors import DispatcherError
from dispatcher.local.state_folder import state_folder

#: 128 + SIGINT, as shells have it.
_INTERRUPTED: Final = 130


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn whatever a command raises into its line on stderr and its exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise  # click's own: usage, the end, and a reader that has seen enough
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nInterrupted.", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    except DispatcherError as error:
        _print_error(error.message, error.hint)
        raise click.exceptions.Exit(error.exit_code) from None
    except Exception as error:  # noqa: BLE001 - the last stop before a person's terminal
        if os.environ.get("DISPATCHER_DEBUG") == "1":
            traceback.print_exc()
        _print_error(*_describe_unexpected(error))
        raise click.exceptions.Exit(1) from None


def _print_error(message: str, hint: str | None) -> None:
    lines = "\n  ".join(safe_text(line) for line in message.splitlines())
    click.echo(f"Error: {lines}", err=True)
    if hint:
        click.echo(f"Hint: {safe_text(hint)}", err=True)


def _describe_unexpected(error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}", "check the path, its rights and the disk"
    report = _write_report(error)
    places = f"where it happened stands in {report}; " if report else ""
    return (
        f"unexpected {type(error).__name__}: a mistake of this program, not yours",
        f"{places}DISPATCHER_DEBUG=1 shows everything",
    )


def _write_report(error: BaseException) -> Path | None:
    """Write where the errors were raised to a file; not their texts, which may hold numbers."""
    lines = [f"dispatcher {__version__}, Python {sys.version}\n"]
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"{type(cause).__name__}\n", *traceback.format_tb(cause.__traceback__)]
        cause = cause.__cause__ or cause.__context__
    try:
        report = state_folder() / "last-error.txt"
        report.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        report.write_text("".join(lines), encoding="utf-8")
    except (OSError, RuntimeError):
        return None
    return report
