"""`dispatcher suppression add | remove | check | list`: numbers that must never be texted."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli import suppression_files
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.lazy import ConfiguredGroup
from dispatcher.cli.numbers import read_number, read_numbers
from dispatcher.cli.output import pluralize, print_json, print_table, safe_text
from dispatcher.cli.zones import local_times
from dispatcher.errors import NothingToDo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.config.settings import Settings
    from dispatcher.store.suppressions import SuppressionRow

#: The most numbers that an audit row names.
_NAMED = 10
_ENTRY_COLUMNS = ("msisdn", "account", "reason", "source", "actor", "at")

_numbers_argument = click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
_account_option = click.option(
    "--account", help="Only for this account. [default: whichever account would send]"
)
_country_option = click.option(
    "--country", metavar="CC", help="Country of numbers without code. [default: the accounts']"
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("suppression", cls=ConfiguredGroup)
def suppression_group() -> None:
    """Keep numbers that must never be texted: those who opted out, complained, or died.

    Who is on the list gets nothing: at submission, and also if the campaign was submitted before.

    \b
    Example:
      dispatcher suppression add +919820011223 --reason "asked by phone"
      dispatcher suppression import optouts.csv
    """


@suppression_group.command("add")
@_numbers_argument
@_account_option
@_country_option
@click.option("--reason", help="Why; shown by `check`.")
@click.option("--source", default="cli", show_default=True, help="Where you have it from.")
@_json_option
@click.pass_context
def suppression_add(
    ctx: click.Context,
    numbers: tuple[str, ...],
    account: str | None,
    country: str | None,
    reason: str | None,
    source: str,
    as_json: bool,
) -> None:
    """Put numbers on the list. Once it ends, no request to them begins any more.

    One that is on the list already keeps its date and its reason.

    \b
    Example:
      dispatcher suppression add "+91 98200 11223" --reason "asked by phone"
    """
    from dispatcher.store import suppressions
    from dispatcher.store.audit import add_audit_row, current_person
    from dispatcher.store.engine import Store, store_now
    from dispatcher.store.migrate import create_tables_if_new

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    given = _read_each(settings, numbers, country, account)
    store, kept_for = Store(settings.store.url), account or suppressions.ANY_ACCOUNT
    create_tables_if_new(store)
    origin = suppressions.SuppressionOrigin(reason, source, current_person())
    with store.write() as conn:
        suppressions.wait_for_begins(conn, kept_for)
        now = store_now(conn)
        added = suppressions.add_numbers(conn, given, kept_for, origin, now)
        add_audit_row(
            conn, "suppression add", now=now, actor=origin.actor, account=account,
            detail=_describe(given, reason),
        )  # fmt: skip
    if as_json:
        print_json({"added": added, "known": len(given) - added, "account": account})
        return
    click.echo(
        f"{pluralize(added, 'number')} added{_for_account(account)}: no request to "
        f"{'it' if len(given) == 1 else 'them'} begins any more"
    )
    if added < len(given):
        known = pluralize(len(given) - added, "was", "were")
        click.echo(f"{known} on the list before: `dispatcher suppression check` says since when")


@suppression_group.command("remove")
@_numbers_argument
@_account_option
@_country_option
@_json_option
@click.pass_context
def suppression_remove(
    ctx: click.Context,
    numbers: tuple[str, ...],
    account: str | None,
    country: str | None,
    as_json: bool,
) -> None:
    """Take numbers off the list. Messages that were suppressed stay so.

    Without --account the entries for all accounts are taken off; those for single accounts stay.

    \b
    Example:
      dispatcher suppression remove +919820011223
    """
    from dispatcher.store import suppressions
    from dispatcher.store.audit import add_audit_row, current_person
    from dispatcher.store.engine import Store, store_now

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    given = _read_each(settings, numbers, country, account)
    with Store(settings.store.url).write() as conn:
        removed = suppressions.remove_numbers(conn, given, account or suppressions.ANY_ACCOUNT)
        if removed:
            add_audit_row(
                conn, "suppression remove", now=store_now(conn), actor=current_person(),
                account=account, detail=_describe(removed, None),
            )  # fmt: skip
        left = suppressions.find_entries(conn, given)
    if as_json:
        print_json(
            {"removed": removed, "missing": sorted({*given} - {*removed}), "account": account}
        )
    elif removed:
        click.echo(f"{pluralize(len(removed), 'number')} removed{_for_account(account)}")
    for entry in [] if as_json else left:
        click.echo(f"+{entry.msisdn} is still on the list{_for_account(entry.account)}")
    if not removed:
        raise NothingToDo(
            f"none of the numbers is on the list{_for_account(account)}",
            "`dispatcher suppression check NUMBER` says for which accounts a number is",
        )


@suppression_group.command("check")
@click.argument("number")
@_account_option
@_country_option
@data_options
@click.pass_context
def suppression_check(
    ctx: click.Context, number: str, account: str | None, country: str | None
) -> None:
    """Say whether a number is on the list: since when, why, from where and by whom.

    \b
    Example:
      dispatcher suppression check "098200 11223" --country IN
    """
    from dispatcher.store import suppressions
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    msisdn = read_number(settings, number, country, account)
    with Store(settings.store.url).read() as conn:
        entries = suppressions.find_entries(conn, [msisdn], account)
    if is_data_asked(ctx):
        shown = [entry_json(entry) for entry in entries]
        data = {"msisdn": msisdn, "suppressed": bool(entries), "entries": shown}
        print_data(ctx, data, _ENTRY_COLUMNS, shown)
        return
    if not entries:
        click.echo(f"+{msisdn} is not on the list{_for_account(account)}")
    for entry in entries:
        why = f": {entry.reason}" if entry.reason else ""
        words = (
            f"+{entry.msisdn} must not be texted{_for_account(entry.account)} since "
            f"{entry.at:%Y-%m-%d %H:%M:%S} UTC{why} (from {entry.source}, by {entry.actor})"
        )
        click.echo(safe_text(local_times(words)))


@suppression_group.command("list")
@_account_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000),
              help="How many to show.")  # fmt: skip
@data_options
@click.pass_context
def suppression_list(ctx: click.Context, account: str | None, limit: int) -> None:
    """Show the newest numbers of the list, and how many it has.

    \b
    Example:
      dispatcher suppression list --limit 100
    """
    from dispatcher.store import suppressions
    from dispatcher.store.engine import Store
    from dispatcher.store.erased_numbers import count_erased

    refuse_empty_options(ctx)
    with Store(settings_from(ctx).store.url).read() as conn:
        counts = suppressions.count_entries(conn)
        erased = count_erased(conn)
        newest = suppressions.list_newest_entries(conn, account=account, limit=limit)
    if is_data_asked(ctx):
        named = {name or "*": count for name, count in counts.items()}
        shown = [entry_json(entry) for entry in newest]
        data = {"counts": named, "newest": shown, "erased": erased}
        print_data(ctx, data, _ENTRY_COLUMNS, shown)
        return
    if newest:
        print_table(
            ("number", "account", "since", "reason", "source", "by"),
            [
                (f"+{e.msisdn}", e.account or "all", local_times(f"{e.at:%Y-%m-%d %H:%M:%S} UTC"),
                 e.reason, e.source, e.actor)
                for e in newest
            ],
            spare=("by", "source"),
        )  # fmt: skip
    for name, count in sorted(counts.items()):
        click.echo(f"{pluralize(count, 'number')}{_for_account(name)}")
    if erased:
        click.echo(f"{pluralize(erased, 'erased number')}, of which only a hash is kept")
    if not counts and not erased:
        click.echo("the list is empty")


def entry_json(entry: "SuppressionRow") -> dict[str, object]:
    """An entry as JSON; `account` is null where no account may text the number."""
    return {**entry._asdict(), "account": entry.account or None}


def _read_each(
    settings: "Settings", numbers: "Sequence[str]", country: str | None, account: str | None
) -> list[int]:
    """The numbers, each once. Raises UsageProblem for an unknown account or a wrong number."""
    if account is not None:
        settings.account(account)
    return sorted(read_numbers(settings, numbers, country, account))


def _describe(msisdns: "Sequence[int]", reason: str | None) -> str:
    """The numbers for an audit row, masked."""
    from dispatcher.numbers.masking import mask_number

    named = ", ".join(map(mask_number, msisdns[:_NAMED]))
    more = len(msisdns) - _NAMED
    words = named + (f" and {more} others" if more > 0 else "")
    return f"{words}: {reason}" if reason else words


def _for_account(account: str | None) -> str:
    return f" for account {account}" if account else " for all accounts"


for command in (suppression_files.suppression_import, suppression_files.suppression_export):
    suppression_group.add_command(command)
