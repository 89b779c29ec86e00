"""`dispatcher purge`: drop numbers and texts of campaigns that ended long ago."""

from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.output import pluralize, print_json, print_table
from dispatcher.cli.question import require_yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.retention.purge import PurgePlan, PurgeResult
    from dispatcher.store.purges import PurgeCandidate

#: Campaigns that are listed one by one.
_MOST: Final = 20


@click.command("purge")
@click.option("--older-than", "age", metavar="AGE", required=True,
              help="Campaigns that ended longer ago: 90d, 12w, 36h.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def purge_command(ctx: click.Context, age: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Drop numbers and texts of campaigns that ended before AGE ago, for good.

    Counts, costs, requests and the audit stay. So do campaigns of which something is open: in
    doubt, or still asked about. Others go on working meanwhile.

    \b
    Example:
      dispatcher purge --older-than 90d --dry-run
    """
    from dispatcher.cli.parsing import parse_age
    from dispatcher.retention.purge import plan_purge, run_purge
    from dispatcher.store.engine import Store, store_now

    refuse_empty_options(ctx)
    longer_ago = parse_age("--older-than", age)
    store = Store(settings_from(ctx).store.url)
    with store.read() as conn:
        now = store_now(conn)
    plan = plan_purge(store, now - min(longer_ago, now - now.min.replace(tzinfo=now.tzinfo)))
    if not as_json:
        _print_plan(plan)
    if dry_run or not (plan.campaigns or plan.begun):
        if as_json:
            print_json(_purge_json(plan, None))
        return
    question = (
        f"Drop the numbers and texts of {pluralize(plan.recipients, 'recipient')} for good?"
        if plan.campaigns
        else "Go on with the purge that was interrupted?"
    )
    require_yes(question, yes, otherwise="nothing was dropped")
    done = run_purge(store, plan)
    if as_json:
        print_json(_purge_json(plan, done))
        return
    click.echo(
        f"{pluralize(len(done.campaigns), 'campaign')} purged: "
        f"{pluralize(done.messages, 'message')} and "
        f"{pluralize(done.rejects, 'rejected row')} dropped"
    )
    if store.is_sqlite and done.messages:
        click.echo("the file keeps its size: new campaigns use the room (the runbook says more)")


def _print_plan(plan: "PurgePlan") -> None:
    if plan.begun:
        ids = ", ".join(map(str, plan.begun))
        click.echo(f"a purge was interrupted: it goes on with campaign {ids}")
    if plan.campaigns:
        print_table(
            ("id", "name", "ended", "recipients"),
            [
                (one.id, one.name, f"{one.finished_at:%Y-%m-%d %H:%M} UTC", one.total)
                for one in plan.campaigns[:_MOST]
            ],
            cut="name",
        )
        if (more := len(plan.campaigns) - _MOST) > 0:
            click.echo(f"and {pluralize(more, 'further campaign')}")
    elif not plan.begun:
        click.echo(f"no campaign that ended before {plan.before:%Y-%m-%d %H:%M} UTC can be purged")
    for one in plan.kept[:_MOST]:
        click.echo(f"kept: campaign {one.id}, {'; '.join(_kept_why(one))}")
    if (more := len(plan.kept) - _MOST) > 0:
        click.echo(f"kept: {pluralize(more, 'further campaign')} of which something is open")


def _kept_why(one: "PurgeCandidate") -> "Sequence[str]":
    why = []
    if one.in_doubt:
        who = pluralize(one.in_doubt, "recipient is", "recipients are")
        why.append(f"{who} in doubt: `dispatcher campaign resolve {one.id}`")
    if one.polls:
        why.append(f"{pluralize(one.polls, 'request is', 'requests are')} still asked about")
    return why


def _purge_json(plan: "PurgePlan", done: "PurgeResult | None") -> dict[str, object]:
    """`purged`, `messages` and `rejects` are null where nothing was done."""
    return {
        "before": plan.before,
        "campaigns": [
            {"id": one.id, "name": one.name, "finished_at": one.finished_at, "total": one.total}
            for one in plan.campaigns
        ],
        "kept": [
            {"id": one.id, "name": one.name, "in_doubt": one.in_doubt, "polls": one.polls}
            for one in plan.kept
        ],
        "purged": None if done is None else done.campaigns,
        "messages": None if done is None else done.messages,
        "rejects": None if done is None else done.rejects,
    }
