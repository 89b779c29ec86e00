"""How the command line ends when something goes wrong: a sentence, a hint, an exit code."""

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from dispatcher import __version__
from dispatcher.cli.output import safe_text
from dispatcher.cli.zones import local_times
from dispatcher.error_codes import ErrorCode
from dispatcher.errors import DispatcherError
from dispatcher.local.signals import last_signal
from dispatcher.local.state_folder import state_folder


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn whatever a command raises into a message on stderr and an exit code.

    A KeyboardInterrupt may carry a sentence: what holds now, or what goes on without the command.
    SIGTERM and SIGHUP raise it too (`local/signals.py`).
    """
    try:
        yield
    except click.ClickException as error:
        error.show()
        # A group without a command shows its help: that is not a mistake.
        if not isinstance(error, click.exceptions.NoArgsIsHelpError):
            _print_code(ErrorCode.USAGE)
        raise click.exceptions.Exit(error.exit_code) from None
    except (click.exceptions.Exit, BrokenPipeError):
        raise  # click handles these: the end, and a reader that has seen enough
    except (KeyboardInterrupt, click.Abort) as interrupt:
        sentence = f": {interrupt}" if interrupt.args else "."
        number = last_signal()
        word = "Interrupted" if number is signal.SIGINT else f"Ended by {number.name}"
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"\n{word}{sentence}", err=True)
        raise click.exceptions.Exit(interrupted_code()) from None
    except DispatcherError as error:
        hint = None if error.hint is None else local_times(error.hint)
        _print_error(local_times(error.message), hint, error.error_code)
        raise click.exceptions.Exit(error.exit_code) from None
    except Exception as error:  # noqa: BLE001 - nothing may reach a person as a traceback
        if isinstance(error, OSError) and last_signal() is signal.SIGHUP:  # of the lost terminal
            raise click.exceptions.Exit(interrupted_code()) from None
        if os.environ.get("DISPATCHER_DEBUG") == "1":
            traceback.print_exc()
        _print_error(*_describe_unexpected(error), _code_of_unexpected(error))
        raise click.exceptions.Exit(1) from None


def interrupted_code() -> int:
    """The exit code of a command that a signal has ended, as shells have it: 130 for Ctrl-C."""
    return 128 + last_signal()


def _print_error(message: str, hint: str | None, code: ErrorCode) -> None:
    lines = "\n  ".join(safe_text(line) for line in message.splitlines())
    # The exit code tells a script what happened, also where nothing can be printed.
    with suppress(OSError):
        click.echo(f"Error: {lines}", err=True)
        if hint:
            click.echo(f"Hint: {safe_text(hint)}", err=True)
    _print_code(code)


def _print_code(code: ErrorCode) -> None:
    with suppress(OSError):
        click.echo(f"Code: {code} (`dispatcher explain {code}` says more)", err=True)


def _code_of_unexpected(error: Exception) -> ErrorCode:
    return ErrorCode.SYSTEM if isinstance(error, OSError) else ErrorCode.INTERNAL


def _describe_unexpected(error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError) and error.strerror:
        if error.filename:
            return f"{error.filename}: {error.strerror}", "check the path, its rights and the disk"
        return error.strerror, "check the disk, and where the output of the command goes"
    report = _write_report(error)
    places = f"details are in {report}; " if report else ""
    return (
        f"unexpected {type(error).__name__}: this is a bug in dispatcher",
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
