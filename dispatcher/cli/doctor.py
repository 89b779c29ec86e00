"""`dispatcher doctor`: what works, what does not, and what to do about it."""

import sys
import time
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import print_line, safe_text
from dispatcher.cli.terminal import is_terminal
from dispatcher.cli.zones import local_times
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.config.settings import Settings
    from dispatcher.doctor.result import CheckResult

_MARKS: Final = {
    "green": click.style("ok     ", fg="green"),
    "yellow": click.style("warning", fg="yellow", bold=True),
    "red": click.style("problem", fg="red", bold=True),
}
_EVERY_S: Final = 10.0


@click.command("doctor")
@click.option("--providers", is_flag=True, help="Ask the providers too: key, balance, sender.")
@click.option(
    "--watch",
    "every_s",
    is_flag=False,
    flag_value=_EVERY_S,
    type=click.FloatRange(1, 86_400),
    metavar="[SECONDS]",
    help="Check again every 10 s, or every SECONDS, until Ctrl-C.",
)
@data_options
@click.pass_context
def doctor_command(ctx: click.Context, *, providers: bool, every_s: float | None) -> None:
    """Check what a night shift would: configuration, store, broker, workers, campaigns, disk.

    Exits with 1 if there is a problem; warnings are for a person with time. The providers are asked
    only with --providers; nothing is sent.

    \b
    Example:
      dispatcher doctor
      dispatcher doctor --providers --json
    """
    is_data = is_data_asked(ctx)
    settings = settings_from(ctx)
    if every_s is not None:
        if is_data:
            raise WrongOptions(
                "--watch prints for people; --json, --csv and --tsv once", "leave one out"
            )
        _watch(settings, every_s, ask=providers)
        return
    findings = _run(settings, ask=providers)
    if is_data:
        data = [finding.as_json() for finding in findings]
        print_data(ctx, data, ("part", "level", "ok", "what", "remedy"), data)
    else:
        _print_findings(findings)
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


def _run(settings: "Settings", *, ask: bool) -> "list[CheckResult]":
    from dispatcher.doctor import run_checks

    return list(run_checks(settings, ask=ask))


def _print_findings(findings: "Sequence[CheckResult]") -> None:
    for finding in findings:
        mark = _MARKS[finding.level]
        print_line(f"{mark}  {finding.part:<15}  {safe_text(local_times(finding.what))}", " " * 26)
        if finding.remedy is not None:
            print_line(f"{'':26}→ {safe_text(local_times(finding.remedy))}", " " * 28)


def _watch(settings: "Settings", every_s: float, *, ask: bool) -> None:
    """On a terminal the list is drawn anew; elsewhere a line is printed for each change."""
    known: set[tuple[str, str, str]] = set()
    while True:
        findings = _run(settings, ask=ask)
        wrong = [one for one in findings if one.level != "green"]
        if is_terminal(sys.stdout):
            click.clear()
            _print_findings(findings)
            click.echo(f"\n{time.strftime('%H:%M:%S')}: again every {every_s:g} s, until Ctrl-C")
        else:
            now = {(one.level, one.part, one.what) for one in wrong}
            _print_findings([one for one in wrong if (one.level, one.part, one.what) not in known])
            for level, part, what in sorted(known - now):
                words = safe_text(local_times(what))
                click.echo(f"{_MARKS['green']}  {part:<15}  no longer {level}: {words}")
            known = now
        time.sleep(every_s)
