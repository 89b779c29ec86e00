"""`dispatcher stop | go`: stop sending with every account at once, and undo just that."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import describe_stop, name_some
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.doubt import warn_of_doubt
from dispatcher.cli.output import pluralize, print_json, safe_text
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dispatcher.config.settings import Settings
    from dispatcher.store.stops import AtProvider, GeneralStop, StoppedAccount

_accounts_option = click.option(
    "--account", "accounts", multiple=True, help="Only this account; repeatable. [default: all]"
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("stop")
@_accounts_option
@click.option("--reason", help="Why; shown wherever somebody looks for the cause.")
@_json_option
@click.pass_context
def stop_command(
    ctx: click.Context, accounts: tuple[str, ...], reason: str | None, as_json: bool
) -> None:
    """Stop sending with every account at once, and say what is still at the providers.

    Nothing begins any more once it ends. Requests under way cannot be recalled: their answers are
    stored. Pauses of accounts and campaigns stay as they are. `dispatcher go` undoes it.

    \b
    Example:
      dispatcher stop
      dispatcher stop --account main --reason "wrong text"
    """
    from dispatcher.store import stops
    from dispatcher.store.accounts import create_missing_accounts
    from dispatcher.store.audit import current_person
    from dispatcher.store.engine import Store, store_now
    from dispatcher.store.migrate import create_tables_if_new

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    names = _check_names(settings, accounts)
    store = Store(settings.store.url)
    create_tables_if_new(store)
    with store.write() as conn:
        create_missing_accounts(conn, names or settings.accounts)
        done = stops.stop_accounts(
            conn, names, actor=current_person(), reason=reason, now=store_now(conn)
        )
    with store.read() as conn:
        general = stops.find_general_stop(conn)
        stopped = [each for each in stops.list_stopped(conn) if names is None or each.name in names]
        under_way = stops.list_at_providers(conn, names)
    if as_json:
        print_json(_stop_json(general, stopped, done, under_way))
    else:
        _print_stopped(stopped, done, is_all=names is None)
        _print_under_way(under_way)
    warn_of_doubt(store, to_stderr=as_json)
    if not as_json:
        click.echo(f"`{_go_command(accounts)}` continues")


@click.command("go")
@_accounts_option
@_json_option
@click.pass_context
def go_command(ctx: click.Context, accounts: tuple[str, ...], as_json: bool) -> None:
    """Undo `dispatcher stop`, and nothing else: what was paused before stays paused.

    With --account one account after the other goes on, while the others stay stopped.

    \b
    Example:
      dispatcher go --account main
      dispatcher go
    """
    from dispatcher.store import stops
    from dispatcher.store.audit import current_person
    from dispatcher.store.engine import Store, store_now

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        known = {each.name for each in stops.list_stopped(conn)}
    # An account that was stopped may have left the configuration.
    names = _check_names(settings, accounts, known=known)
    with store.write() as conn:
        done = stops.start_accounts(conn, names, actor=current_person(), now=store_now(conn))
        left = stops.list_stopped(conn)
        general = stops.find_general_stop(conn)
    if as_json:
        print_json(
            {
                "started": [each.name for each in done],
                "paused": [each.name for each in done if each.paused_by is not None],
                "stopped": [each.name for each in left],
                "all_stopped": general is not None,
            }
        )
        return
    click.echo(f"{_count(done)} no longer stopped" if done else "nothing was stopped")
    for each in done:
        if each.paused_by is not None:
            why = f"{each.name} stays paused ({each.paused_by}): {each.pause_reason}"
            click.echo(safe_text(why))
    if left:
        click.echo(f"still stopped: {name_some([each.name for each in left])}")


def _check_names(
    settings: "Settings", accounts: "Sequence[str]", *, known: "Collection[str]" = ()
) -> "tuple[str, ...] | None":
    """The accounts that are named, each checked; None for all."""
    for name in accounts:
        if name not in known:
            settings.account(name)
    return tuple(dict.fromkeys(accounts)) or None


def _stop_json(
    general: "GeneralStop | None",
    stopped: "Sequence[StoppedAccount]",
    done: "Sequence[str]",
    under_way: "Sequence[AtProvider]",
) -> dict[str, object]:
    return {
        "all_stopped": general is not None,
        "accounts": [
            {
                "account": each.name,
                "stopped_at": each.stopped_at,
                "stopped_by": each.stopped_by,
                "reason": each.stop_reason,
                "is_new": each.name in {*done},
                "paused_by": each.paused_by,
            }
            for each in stopped
        ],
        "at_providers": [each._asdict() for each in under_way],
    }


def _print_stopped(
    stopped: "Sequence[StoppedAccount]", done: "Sequence[str]", *, is_all: bool
) -> None:
    if not stopped:
        click.echo("no account is configured; one that is added now is stopped")
        return
    count = pluralize(len(stopped), "account")
    click.echo(f"everything is stopped ({count})" if is_all else f"{_count(stopped)} stopped")
    before = [each for each in stopped if each.name not in {*done}]
    if before:
        first = before[0]
        who = describe_stop(first.stopped_at, first.stopped_by, first.stop_reason)
        named = name_some([each.name for each in before])
        click.echo(safe_text(local_times(f"stopped before: {named} ({who})")))


def _print_under_way(under_way: "Sequence[AtProvider]") -> None:
    if not under_way:
        click.echo("nothing is under way at the providers")
    for each in under_way:
        requests = pluralize(each.requests, "request")
        who = pluralize(each.recipients, "recipient")
        words = (
            f"{each.account}: {requests} with {who} at the provider cannot be recalled; answers "
            f"are stored until {each.until:%Y-%m-%d %H:%M:%S} UTC, what has none then is in doubt"
        )
        click.echo(local_times(words, [each.account]))


def _count(accounts: "Sequence[object]") -> str:
    return pluralize(len(accounts), "account is", "accounts are")


def _go_command(accounts: "Sequence[str]") -> str:
    return " ".join(["dispatcher go", *(f"--account {name}" for name in accounts)])
