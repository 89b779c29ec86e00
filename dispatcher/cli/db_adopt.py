"""`dispatcher db adopt`: a restored store is accepted, after it was said what that means."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import confirm, declined_exit, pluralize, print_table
from dispatcher.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.store.table_values import AnyRow

_RESTORED = """\
As a restored backup: everything pending in these campaigns may have been sent after the backup was
made. It is put IN DOUBT and is not sent again by itself; where the provider has a list of messages,
each is looked up there, and `dispatcher campaign resolve` decides the rest. Campaigns that were
submitted after the backup are not in this store: do not submit their files again without a look at
what the provider's portal shows as sent."""
_MOVED = """\
As moved: nothing was sent that this store does not know, and everything pending is sent. That is
right for the newest state in a new place (a moved folder, an upgraded server, a failover that lost
nothing), and texts people twice if it is a backup."""


@click.command("adopt")
@click.option("--restored", "choice", flag_value="restored", help="It is a backup: doubt, hold.")
@click.option("--moved", "choice", flag_value="moved", help="It is the newest state, moved: go on.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def db_adopt(ctx: click.Context, choice: str | None, yes: bool) -> None:
    """Accept a store that is not, or may not be, the one that was sent from last.

    Says why nothing is sent and what would become of pending recipients, asks, and writes it down.
    Stop the workers and the scheduler first. A snapshot of a whole machine cannot be recognised:
    after restoring one, run this with --restored before anything is started.

    \b
    Example:
      dispatcher db adopt
    """
    from dispatcher.local.broker import celery_url, redis_client
    from dispatcher.recovery import adoption
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    store = Store(settings.store.url)
    client = redis_client(celery_url(settings.broker.url, settings.store.url))
    standing = adoption.check_store(store, client)
    if standing.held is None and choice is None:
        click.echo("the store agrees with its witnesses: there is nothing to adopt")
        return
    if choice == "moved" and standing.is_behind:
        raise Refused(f"{standing.held}: --moved would send it again", "use --restored")
    click.echo(standing.held or "The store agrees with its witnesses; you say that it is restored.")
    _print_waiting(standing.waiting)
    choice = choice or "restored"
    click.echo(_RESTORED if choice == "restored" else _MOVED)
    count = sum(row.pending for row in standing.waiting)
    question = (
        f"Put {count} pending recipients in doubt and adopt this store?"
        if choice == "restored"
        else f"Adopt this store as it is, and go on to send to {count} recipients?"
    )
    if not confirm(question, yes):
        raise declined_exit("nothing was changed, and nothing is sent")
    doubted = adoption.adopt_store(store, client, doubt=choice == "restored")
    for campaign_id, number in doubted.items():
        who = pluralize(number, "recipient is", "recipients are")
        click.echo(f"campaign {campaign_id}: {who} in doubt")
    click.echo("the store is adopted; start `dispatcher up`, or the workers and the scheduler")


def _print_waiting(waiting: "Sequence[AnyRow]") -> None:
    if waiting:
        rows = [(row.id, row.name, int(row.pending)) for row in waiting]
        print_table(("campaign", "name", "pending"), rows)
    else:
        click.echo("no campaign has anything pending")
