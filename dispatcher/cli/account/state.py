"""`dispatcher account list | pause | resume`: the state of accounts in the store."""

from typing import TYPE_CHECKING, TypedDict

import click

from dispatcher.cli.banners import warn_if_held, warn_if_stopped
from dispatcher.cli.context import settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import pluralize, print_table, safe_text
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings
    from dispatcher.providers.base import Capabilities
    from dispatcher.store.rows import AccountRow


class AccountSummary(TypedDict):
    """An account in the JSON of `account list`."""

    account: str
    provider: str
    state: str
    paused_by: str | None
    stopped_at: str | None
    stopped_by: str | None
    reason: str | None
    waits_for: str | None
    sender: str | None
    rate: str
    hours: str
    max_in_flight: int | None
    max_recipients: int
    #: How many numbers an account with `allow_only` may text; None: any.
    allowed: int | None
    features: list[str]


@click.command("list", short_help="List the accounts, their state and features.")
@data_options
@click.pass_context
def account_list(ctx: click.Context) -> None:
    """List the configured accounts: their state, limits, and what their providers can do.

    \b
    Example:
      dispatcher account list
    """
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    store = Store(settings.store.url)
    warn_if_held(store)
    warn_if_stopped(store)
    rows = _account_rows(settings)
    if is_data_asked(ctx):
        print_data(ctx, rows, [*AccountSummary.__annotations__], rows)
        return
    if not rows:
        click.echo("no account is configured: add one under [accounts.NAME]")
        return
    print_table(
        ("account", "provider", "state", "sender", "hours", "rate", "in flight", "recipients",
         "can do"),
        [
            (r["account"], r["provider"], r["state"], r["sender"], r["hours"], r["rate"],
             r["max_in_flight"], r["max_recipients"], ", ".join(r["features"]))
            for r in rows
        ],
        spare=("provider", "in flight", "recipients"),
    )  # fmt: skip
    for row in rows:
        if row["allowed"] is not None:
            numbers = pluralize(row["allowed"], "number")
            click.echo(f"{row['account']} texts only the {numbers} of its `allow_only`")
        if row["reason"]:
            stopped = f"paused ({row['paused_by']})" if row["paused_by"] else row["state"]
            click.echo(f"{row['account']} is {stopped}: {safe_text(row['reason'])}")
            click.echo(local_times(f"  it waits for {row['waits_for']}", [row["account"]]))
        elif row["waits_for"]:
            words = f"{row['account']} is {row['state']}; it waits for {row['waits_for']}"
            click.echo(local_times(words, [row["account"]]))


@click.command("pause", short_help="Stop sending with an account.")
@click.argument("name")
@click.option("--reason", default="by a person", help="Why; shown wherever the account is shown.")
@click.pass_context
def account_pause(ctx: click.Context, name: str, reason: str) -> None:
    """Stop sending with an account, for every campaign. Requests in flight are settled.

    \b
    Example:
      dispatcher account pause main --reason "provider's maintenance"
    """
    from dispatcher.store import accounts
    from dispatcher.store.audit import current_person
    from dispatcher.store.engine import Store, store_now

    settings = settings_from(ctx)
    settings.account(name)
    with Store(settings.store.url).write() as conn:
        accounts.create_missing_accounts(conn, [name])
        done = accounts.pause_account(
            conn, name, by="operator", reason=reason, actor=current_person(), now=store_now(conn)
        )
    state = "is paused" if done else "was already paused"
    click.echo(f"account {name} {state}; `dispatcher account resume {name}` opens it")


@click.command("resume", short_help="Open a paused account.")
@click.argument("name")
@click.pass_context
def account_resume(ctx: click.Context, name: str) -> None:
    """Open a paused account; its campaigns continue.

    \b
    Example:
      dispatcher account resume main
    """
    from dispatcher.store import accounts
    from dispatcher.store.audit import current_person
    from dispatcher.store.engine import Store, store_now

    settings = settings_from(ctx)
    settings.account(name)
    with Store(settings.store.url).write() as conn:
        done = accounts.resume_account(conn, name, actor=current_person(), now=store_now(conn))
        row = accounts.find_account(conn, name)
    if row is not None and row.stopped_at is not None:
        was = "is no longer paused" if done else "was not paused"
        click.echo(f"account {name} {was}; it is stopped: `dispatcher go --account {name}`")
    else:
        click.echo(f"account {name} is open" if done else f"account {name} was not paused")


def _account_rows(settings: "Settings") -> list[AccountSummary]:
    from dispatcher.campaigns.wording import hours_in_words, iso_time, limits_in_words
    from dispatcher.cli.provider_calls import provider_of
    from dispatcher.outbound.rates import rate_wait
    from dispatcher.policy.breaker import wait_reason
    from dispatcher.store import accounts
    from dispatcher.store.engine import Store, store_now

    with Store(settings.store.url).read() as conn:
        known = accounts.all_accounts(conn)
        now = store_now(conn)
    rows: list[AccountSummary] = []
    for name, account in settings.accounts.items():
        provider, stored = provider_of(settings, name), known.get(name)
        rows.append(
            AccountSummary(
                account=name,
                provider=provider.name,
                state=_state_of(stored),
                paused_by=stored.paused_by if stored else None,
                stopped_at=iso_time(stored.stopped_at) if stored else None,
                stopped_by=stored.stopped_by if stored else None,
                reason=stored.pause_reason or stored.breaker_reason if stored else None,
                waits_for=wait_reason(stored, now) or rate_wait(account, stored, now),
                sender=account.sender,
                rate=limits_in_words(account),
                hours=hours_in_words(account),
                max_in_flight=account.max_in_flight,
                max_recipients=provider.max_recipients,
                allowed=None if account.allow_only is None else len(account.allow_only),
                features=describe_features(provider.capabilities),
            )
        )
    return rows


def _state_of(stored: "AccountRow | None") -> str:
    """`open`, `stopped`, `paused`, or `failing`: its breaker is open or tries one at a time."""
    if stored is None:
        return "open"
    if stored.stopped_at is not None:
        return "stopped"
    if stored.paused_by is not None:
        return "paused"
    return "open" if stored.breaker is None else "failing"


def describe_features(able: "Capabilities") -> list[str]:
    """The features of a provider, in words."""
    named = {
        "own text per recipient": able.personal_texts,
        f"delivery status {able.delivery_status.value}": able.delivery_status.value != "none",
        "balance": able.balance,
        "senders": able.senders,
        "templates": able.templates,
        "flash": able.flash,
        "contact lists": able.contact_lists,
        "scheduling": able.provider_scheduling,
        "prices": able.prices,
    }
    return [name for name, has in named.items() if has]
