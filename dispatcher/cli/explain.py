"""`dispatcher explain`: what the code of an error means, and what to do."""

from difflib import get_close_matches

import click
from click.shell_completion import CompletionItem

from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import print_line, print_table
from dispatcher.error_codes import EXPLANATIONS, ErrorCode
from dispatcher.errors import NotFound


def _complete_code(
    _ctx: click.Context, _param: click.Parameter, begun: str
) -> list[CompletionItem]:
    return [CompletionItem(code) for code in ErrorCode if code.startswith(begun.upper())]


@click.command("explain")
@click.argument("code", required=False, shell_complete=_complete_code)
@data_options
@click.pass_context
def explain_command(ctx: click.Context, code: str | None) -> None:
    """Say what the CODE of an error means, and what to do; without CODE, list all of them.

    Every error ends with its code. Codes do not change from version to version.

    \b
    Example:
      dispatcher explain E-FILE
    """
    codes = [*ErrorCode] if code is None else [_parse_code(code)]
    if is_data_asked(ctx):
        data = [_meaning_json(one) for one in codes]
        print_data(ctx, data, ("code", "exit_code", "cause", "remedy"), data)
    elif code is None:
        rows = [(one.value, EXPLANATIONS[one].exit_code, EXPLANATIONS[one].cause) for one in codes]
        print_table(("code", "exit code", "cause"), rows)
    else:
        found = EXPLANATIONS[codes[0]]
        print_line(f"{codes[0]} (exit code {found.exit_code})")
        print_line(f"What happened: {found.cause}")
        print_line(f"What to do: {found.remedy}")


def _meaning_json(code: ErrorCode) -> dict[str, str | int]:
    found = EXPLANATIONS[code]
    return {
        "code": code.value,
        "exit_code": found.exit_code,
        "cause": found.cause,
        "remedy": found.remedy,
    }


def _parse_code(written: str) -> ErrorCode:
    wanted = written.strip().upper()
    wanted = wanted if wanted.startswith("E-") else f"E-{wanted}"
    try:
        return ErrorCode(wanted)
    except ValueError:
        near = get_close_matches(wanted, [*ErrorCode], n=1)
        hint = f"did you mean {near[0]}?" if near else "`dispatcher explain` lists all codes"
        raise NotFound(f"there is no code {written!r}", hint) from None
