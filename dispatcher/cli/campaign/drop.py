"""`dispatcher campaign drop`: take single recipients out while they are pending."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.numbers import read_numbers
from dispatcher.cli.output import pluralize, print_json
from dispatcher.cli.question import require_yes
from dispatcher.errors import FileRefused, Refused, WrongOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.config.settings import Settings
    from dispatcher.store.engine import Store

#: Recipients that one transaction drops.
_GROUP: Final = 5_000
#: How long to try again while a worker holds a batch, and how often. A turn takes about a second.
_TRY_FOR_S, _PAUSE_S = 5.0, 0.25
#: The most recipients that are named one by one.
_NAMED: Final = 20
_REASONS: Final = {
    "in_flight": "is in flight right now: try again in a moment",
    "missing": "is not a recipient of this campaign",
    "in_doubt": "is in doubt: `dispatcher campaign resolve --drop --recipient` gives it up",
}


@click.command("drop")
@click.argument("reference", metavar="CAMPAIGN")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1)
@click.option("--file", "source", metavar="FILE", type=click.Path(path_type=Path),
              help="Also the numbers in this file, read like a recipient file.")  # fmt: skip
@click.option("--column", help="The column of --file with the numbers. [default: found]")
@click.option("--sheet", metavar="NAME",
              help="The sheet of --file, if it is a workbook, by name or number.")  # fmt: skip
@click.option("--country", metavar="CC",
              help="Country of numbers without code. [default: the accounts']")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_drop(
    ctx: click.Context,
    reference: str,
    numbers: tuple[str, ...],
    source: Path | None,
    column: str | None,
    sheet: str | None,
    country: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Take recipients out of a campaign for good, while they are pending; they become cancelled.

    Who was submitted already, or is in flight, is named, and the exit code is 1; 3 if nobody could
    be dropped. To keep a number from all campaigns: `dispatcher suppression add`.

    \b
    Example:
      dispatcher campaign drop 1 +919820011223 "98200 11224"
    """
    from dispatcher.campaigns.control import check_changeable
    from dispatcher.campaigns.view import find_campaign
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
    check_changeable(campaign)
    account = campaign.account if campaign.account in settings.accounts else None
    msisdns = read_numbers(settings, numbers, country, account)
    if source is not None:
        msisdns |= _read_file(settings, source, column, sheet, country, account)
    if not msisdns:
        raise WrongOptions("no number is given", "write numbers behind the campaign, or --file")
    question = f"Drop {pluralize(len(msisdns), 'recipient')} of campaign {campaign.id}?"
    require_yes(question, yes, otherwise="nothing was changed")
    outcomes = _drop_all(store, campaign.id, sorted(msisdns))
    dropped = sum(outcome == "dropped" for outcome in outcomes.values())
    if as_json:
        listed = [{"msisdn": msisdn, "outcome": what} for msisdn, what in outcomes.items()]
        print_json({"id": campaign.id, "dropped": dropped, "numbers": listed})
    else:
        _print_outcomes(campaign.id, outcomes, dropped)
    if dropped < len(outcomes):
        raise click.exceptions.Exit(1 if dropped else Refused.exit_code)


def _read_file(
    settings: "Settings",
    source: Path,
    column: str | None,
    sheet: str | None,
    country: str | None,
    account: str | None,
) -> set[int]:
    """The numbers of a file. Raises FileRefused if a row has no valid one: nobody is dropped."""
    from dispatcher.cli.campaign.format_report import refuse_unsure_sheet
    from dispatcher.cli.numbers import find_country
    from dispatcher.numbers.msisdn import MsisdnError, NumberReader
    from dispatcher.recipients.reader import open_recipients

    where = find_country(settings, country, account)
    reader = NumberReader(where)
    found: set[int] = set()
    with open_recipients(source, column=column, sheet=sheet, country=where) as file:
        refuse_unsure_sheet(file)
        for row in file:
            try:
                found.add(reader.read(row.phone))
            except MsisdnError as error:
                if not file.is_repeated_header(row):
                    raise FileRefused(
                        f"{source.name}, row {row.number}: {error}",
                        "correct the row, or take it out; nobody was dropped",
                    ) from None
    return found


def _drop_all(store: "Store", campaign_id: int, msisdns: "Sequence[int]") -> dict[int, str]:
    """What became of each number; those in flight are tried again for a few seconds."""
    from dispatcher.store.drops import IN_FLIGHT

    outcomes: dict[int, str] = {}
    give_up_at = time.monotonic() + _TRY_FOR_S
    left = list(msisdns)
    while True:
        for start in range(0, len(left), _GROUP):
            outcomes |= _drop_group(store, campaign_id, left[start : start + _GROUP])
        left = [msisdn for msisdn, outcome in outcomes.items() if outcome == IN_FLIGHT]
        if not left or time.monotonic() > give_up_at:
            return outcomes
        time.sleep(_PAUSE_S)


def _drop_group(store: "Store", campaign_id: int, msisdns: "Sequence[int]") -> dict[int, str]:
    from dispatcher.store.audit import DROP_ACTION, add_audit_row, current_person
    from dispatcher.store.drops import drop_recipients
    from dispatcher.store.engine import store_now
    from dispatcher.store.locks import lock_campaign

    with store.write() as conn:
        campaign = lock_campaign(conn, campaign_id)
        now = store_now(conn)
        outcomes = drop_recipients(conn, campaign, msisdns, now)
        dropped = sum(outcome == "dropped" for outcome in outcomes.values())
        if dropped:
            add_audit_row(
                conn, DROP_ACTION, now=now, actor=current_person(), campaign_id=campaign_id,
                detail=pluralize(dropped, "recipient"),
            )  # fmt: skip
    return outcomes


def _print_outcomes(campaign_id: int, outcomes: dict[int, str], dropped: int) -> None:
    click.echo(f"campaign {campaign_id}: {pluralize(dropped, 'recipient')} dropped")
    others = [(msisdn, what) for msisdn, what in outcomes.items() if what != "dropped"]
    for msisdn, what in others[:_NAMED]:
        why = _REASONS.get(what, f"is {what.replace('_', ' ')} already")
        click.echo(f"+{msisdn} {why}", err=True)
    if len(others) > _NAMED:
        counts = Counter(what.replace("_", " ") for _, what in others)
        words = ", ".join(f"{count} {what}" for what, count in counts.items())
        click.echo(f"not dropped: {words}", err=True)
