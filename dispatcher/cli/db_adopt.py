"""`dispatcher db adopt`: accept a restored or moved store, after a warning."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import only_one, settings_from
from dispatcher.cli.output import pluralize, print_table
from dispatcher.cli.question import require_yes
from dispatcher.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.store.row_parts import PendingCampaign

_RESTORED = """\
Adopting it as a restored backup: everything pending in these campaigns may have been sent after the
backup was made. It is put IN DOUBT and is not sent again automatically. Where the provider has a
list of messages, each message is looked up there; for the rest you decide with
`dispatcher campaign resolve`. Campaigns that start later are paused, since somebody may have
started them earlier: resume those that were not sent. Campaigns that were submitted after the
backup are not in this store: before you submit their files again, look in the provider's portal for
what was sent."""
_MOVED = """\
Adopting it as moved: everything pending is sent. This is right if the store is the newest one in a
new place (a moved folder, an upgraded server, a failover that lost nothing). If it is a backup,
people get the same text twice."""


@click.command("adopt")
@click.option(
    "--restored",
    "choice",
    flag_value="restored",
    multiple=True,
    callback=only_one,
    help="It is a backup: put what is pending in doubt.",
)
@click.option(
    "--moved",
    "choice",
    flag_value="moved",
    multiple=True,
    callback=only_one,
    help="It is the newest state, moved: send what is pending.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def db_adopt(ctx: click.Context, choice: str | None, yes: bool) -> None:
    """Accept a store that is restored or moved, so that it may send again.

    Says why nothing is sent and what happens to pending recipients, asks, and keeps the decision.
    Stop the workers and the scheduler first. A restored snapshot of a whole machine cannot be
    recognised: run this with --restored before you start anything on it.

    \b
    Example:
      dispatcher db adopt
    """
    from dispatcher.local.broker import celery_url, redis_client
    from dispatcher.recovery import adoption
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    store = Store(settings.store.url)
    client = redis_client(
        celery_url(settings.broker.url, settings.store.url, settings.broker.ca_file)
    )
    check = adoption.check_store(store, client)
    if check.held is None and choice is None:
        click.echo("this store knows of everything that was sent: there is nothing to adopt")
        return
    if choice == "moved" and check.is_behind:
        raise Refused(f"{check.held}: --moved would send messages twice", "use --restored")
    click.echo(check.held or "nothing shows that this store is a backup; you say that it is one")
    _print_waiting(check.waiting)
    choice = choice or "restored"
    click.echo(_RESTORED if choice == "restored" else _MOVED)
    count = sum(row.pending for row in check.waiting)
    question = (
        f"Put {count} pending recipients in doubt and adopt this store?"
        if choice == "restored"
        else f"Adopt this store as it is, and send to {count} pending recipients?"
    )
    require_yes(question, yes, otherwise="nothing was changed, and nothing is sent")
    doubted = adoption.adopt_and_recheck(store, client, doubt=choice == "restored")
    for campaign_id, number in doubted.items():
        who = pluralize(number, "recipient is", "recipients are")
        click.echo(f"campaign {campaign_id}: {who} in doubt")
    click.echo("the store is adopted: start `dispatcher up`, or the workers and the scheduler")


def _print_waiting(waiting: "Sequence[PendingCampaign]") -> None:
    if waiting:
        rows = [(row.id, row.name, row.pending) for row in waiting]
        print_table(("campaign", "name", "pending"), rows)
    else:
        click.echo("no campaign has pending recipients")
