"""`dispatcher campaign resolve`."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import only_one, settings_from
from dispatcher.cli.numbers import name_place
from dispatcher.cli.output import pluralize, print_json
from dispatcher.cli.question import require_yes
from dispatcher.cli.zones import local_times
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from dispatcher.campaigns.resolution import DoubtCount, ResolutionResult
    from dispatcher.store.engine import Store


@click.command("resolve")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--resend", "choice", flag_value="resend", multiple=True, callback=only_one,
              help="Submit them again; some may get the text twice.")  # fmt: skip
@click.option("--assume-submitted", "choice", flag_value="assume-submitted", multiple=True,
              callback=only_one, help="Count them as submitted; some may get nothing.")  # fmt: skip
@click.option("--drop", "choice", flag_value="drop", multiple=True, callback=only_one,
              help="Count them as failed; some may have the text already.")  # fmt: skip
@click.option("--recipient", "recipients", metavar="NUMBER", multiple=True,
              help="Only this recipient; repeatable. [default: all who are in doubt]")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_resolve(
    ctx: click.Context,
    reference: str,
    choice: str | None,
    recipients: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Decide what to do with recipients in doubt, who may or may not have got the text.

    Look at the provider's own panel first. Every decision is kept in the audit table.

    \b
    Example:
      dispatcher campaign resolve 1 --assume-submitted
      dispatcher campaign resolve 1 --resend --recipient +919800000001
    """
    from dispatcher.campaigns import resolution
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    numbers = _read_numbers(ctx, store, reference, recipients)
    doubted = resolution.count_doubts(store, reference, numbers)
    if choice is None:
        raise WrongOptions(
            f"choose what to do with {pluralize(doubted.recipients, 'recipient')} in doubt",
            "look into the provider's panel, then give --assume-submitted (it took them), --resend "
            "(some may get it twice) or --drop (give them up)",
        )
    question = local_times(_build_question(doubted, choice), [doubted.campaign.account])
    require_yes(question, yes, otherwise="nothing was changed")
    done = resolution.resolve_doubts(
        store,
        str(doubted.campaign.id),
        resolution.DoubtChoice(choice),
        numbers,
        requests=doubted.requests,
    )
    words = {
        "resend": "will be submitted again",
        "assume-submitted": "counted as submitted",
        "drop": "counted as failed",
    }
    print_outcome(store, done, words[choice], as_json=as_json)


def _build_question(doubted: "DoubtCount", choice: str) -> str:
    """The question before a decision: how many recipients, and what it can cost."""
    who = f"{pluralize(doubted.recipients, 'recipient')} of campaign {doubted.campaign.id}"
    later = ""
    if doubted.next_at is not None:
        later = f" The next automatic check is at {doubted.next_at:%Y-%m-%d %H:%M:%S} UTC."
    if choice == "resend":
        return (
            f"Submit {who} again? The provider may have accepted any of them: up to "
            f"{doubted.recipients} may get the text twice, and "
            f"{pluralize(doubted.parts, 'part is', 'parts are')} paid again.{later}"
        )
    if choice == "drop":
        return (
            f"Drop {who}? Any of them may have got the text or may still get it; they count as "
            f"failed and are never tried again.{later}"
        )
    return f"Count {who} as submitted? Those the provider did not accept get nothing.{later}"


def _read_numbers(
    ctx: click.Context, store: "Store", reference: str, recipients: tuple[str, ...]
) -> frozenset[int]:
    from dispatcher.campaigns.view import find_campaign
    from dispatcher.numbers.msisdn import MsisdnError, NumberReader

    if not recipients:
        return frozenset()
    with store.read() as conn:
        account = find_campaign(conn, reference).account
    known = settings_from(ctx).accounts.get(account)
    reader = NumberReader(known.country if known is not None else None)
    found = set()
    for n, number in enumerate(recipients, 1):
        try:
            found.add(reader.read(number))
        except MsisdnError as error:
            place = name_place("--recipient", n, len(recipients))
            raise WrongOptions(f"{place}: {error}", "write --recipient +919800000001") from None
    return frozenset(found)


def print_outcome(store: "Store", done: "ResolutionResult", what: str, *, as_json: bool) -> None:
    """Print how many recipients were changed; exits with 1 if some could not be."""
    from dispatcher.campaigns.view import details_json, load_view

    shown = load_view(store, str(done.campaign_id))
    if as_json:
        print_json({"recipients": done.recipients, "left": done.left, **details_json(shown)})
    else:
        who = pluralize(done.recipients, "recipient")
        follow = f"; `dispatcher campaign watch {done.campaign_id}`" * (not shown.is_over)
        click.echo(f"campaign {done.campaign_id}: {who} {what}{follow}")
        if done.left:
            click.echo("some are in a batch that a worker is processing: try again in a minute")
    if done.left:
        raise click.exceptions.Exit(1)
