"""Questions that a person answers with yes or no before something is sent or changed."""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

import click

from dispatcher.cli.output import safe_text
from dispatcher.cli.terminal import is_terminal
from dispatcher.errors import Refused

_TTY: Final = Path("/dev/tty")
_ANSWERS: Final = {"y": True, "yes": True, "n": False, "no": False, "": False}


def require_yes(question: str, assume_yes: bool, *, otherwise: str, is_piped: bool = False) -> None:
    """Ask on a terminal, and go on only after a yes. Scripts and `--yes` are not asked.

    A no prints `otherwise`, which says what holds then, and exits with 3. Ctrl-C raises
    KeyboardInterrupt with it. `is_piped`: standard input is a file that the command reads, so that
    a person can answer on /dev/tty only.
    """
    if assume_yes:
        return
    try:
        with _open_terminal(is_piped) as terminal:
            wants = terminal is None or _ask(question, *terminal)
    except (KeyboardInterrupt, EOFError):
        raise KeyboardInterrupt(otherwise) from None
    if not wants:
        click.echo(otherwise, err=True)
        raise click.exceptions.Exit(Refused.exit_code)


def require_number(question: str, number: int, *, otherwise: str, is_piped: bool = False) -> None:
    """Ask a person to type `number`; anything else is a no: see `require_yes`."""
    try:
        with _open_terminal(is_piped) as terminal:
            if terminal is None:
                return
            line = _read_answer(f"{question}: ", *terminal)
    except (KeyboardInterrupt, EOFError):
        raise KeyboardInterrupt(otherwise) from None
    if re.sub(r"[\s.,'_]", "", line) != str(number):
        click.echo(otherwise, err=True)
        raise click.exceptions.Exit(Refused.exit_code)


def can_ask(assume_yes: bool, *, is_piped: bool = False) -> bool:
    """Whether a person sees what is shown, and will be asked."""
    with _open_terminal(is_piped) as terminal:
        return not assume_yes and terminal is not None


@contextmanager
def _open_terminal(is_piped: bool) -> Iterator[tuple[TextIO, TextIO] | None]:
    """Where answers are read and questions are written; None where nobody can be asked."""
    if is_terminal(sys.stdin):
        yield sys.stdin, sys.stderr
        return
    with ExitStack() as stack:
        streams = None
        if is_piped:
            with suppress(OSError):  # no terminal controls this process
                answers = stack.enter_context(_TTY.open(encoding="utf-8", errors="replace"))
                streams = (
                    answers,
                    stack.enter_context(_TTY.open("w", encoding="ascii", errors="replace")),
                )
        yield streams


def _ask(question: str, answers: TextIO, questions: TextIO) -> bool:
    """Raises EOFError where the input ends without an answer."""
    while True:
        line = _read_answer(f"{question} [y/N]: ", answers, questions)
        if (answer := _ANSWERS.get(line.strip().lower())) is not None:
            return answer


def _read_answer(question: str, answers: TextIO, questions: TextIO) -> str:
    print(safe_text(question), end="", file=questions, flush=True)
    if not (line := answers.readline()):
        raise EOFError
    return line
