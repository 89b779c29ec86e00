"""`dispatcher doctor`: what works, what does not, and what to do about it."""

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import print_json, safe_text


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Check configuration, store, broker, scheduler, workers, accounts and recipients in doubt.

    Exits with 1 if something is wrong. It does not ask the providers; `account check` does.

    \b
    Example:
      dispatcher doctor
    """
    from dispatcher.doctor import run_checks

    findings = list(run_checks(settings_from(ctx)))
    if as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        for finding in findings:
            mark = click.style("ok     ", fg="green")
            if not finding.ok:
                mark = click.style("problem", fg="red", bold=True)
            click.echo(f"{mark}  {finding.part:<13}  {safe_text(finding.what)}")
            if finding.remedy is not None:
                click.echo(f"{'':24}→ {safe_text(finding.remedy)}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)
