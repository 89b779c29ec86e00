"""`dispatcher account check | balance | senders | templates`: ask the provider; nothing is sent."""

from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.account import state
from dispatcher.cli.data import data_options, flat_names, is_data_asked, print_data
from dispatcher.cli.lazy import ConfiguredGroup
from dispatcher.cli.output import print_table, safe_text
from dispatcher.cli.provider_calls import (
    call_provider,
    check_routes,
    fetch_directory,
    select_account,
    specific_settings,
)
from dispatcher.errors import DispatcherError, ErrorKind, ProviderError

if TYPE_CHECKING:
    from dispatcher.providers.base import Provider

_name_argument = click.argument("name", required=False)


@click.group("account", cls=ConfiguredGroup)
def account_group() -> None:
    """Check the accounts at the providers.

    NAME is the name of the account in the configuration. With one account it may be left out.

    \b
    Example:
      dispatcher account check main
    """


@account_group.command("check", short_help="Check key, sender and template at the provider.")
@_name_argument
@data_options
@click.pass_context
def account_check(ctx: click.Context, name: str | None) -> None:
    """Ask the provider whether the account works: key, balance, sender and template.

    Exits with 1 if the key is refused, or if the configured sender and template cannot be used.

    \b
    Example:
      dispatcher account check main
    """
    name, provider = select_account(ctx, name)
    settings, able = provider.settings, provider.capabilities
    report: dict[str, object] = {
        "account": name,
        "provider": provider.name,
        "base_url": settings.base_url,
        **specific_settings(provider),
    }
    if able.balance:
        balances = call_provider(name, provider, provider.balance_request(), provider.parse_balance)
        report["balance"] = {one.package: one.amount for one in balances}
    directory = fetch_directory(name, provider)
    report["key"] = _check_key(name, provider)
    report |= {"sender": settings.sender, "template": settings.template}
    report["campaigns"] = routes = check_routes(provider, directory)
    if is_data_asked(ctx):
        print_data(ctx, report, flat_names(report), [report])
    else:
        campaigns = {
            f"{kind} campaigns": verdict if verdict == "possible" else f"not possible: {verdict}"
            for kind, verdict in routes.items()
        }
        lines = {key: value for key, value in report.items() if key != "campaigns"} | campaigns
        print_table(("what", "value"), [(key, _cell_text(value)) for key, value in lines.items()])
    complete = settings.sender and (settings.template or not able.templates)
    if complete and "possible" not in routes.values():
        raise DispatcherError(
            f"account {name}: no campaign can use the configured sender and template",
            next(iter(routes.values())),
        )


@account_group.command("balance", short_help="Show what is left, in the provider's unit.")
@_name_argument
@data_options
@click.pass_context
def account_balance(ctx: click.Context, name: str | None) -> None:
    """Show what is left of the account's packages, in the provider's unit.

    \b
    Example:
      dispatcher account balance main
    """
    name, provider = select_account(ctx, name, needs="balance")
    found = call_provider(name, provider, provider.balance_request(), provider.parse_balance)
    _print_listing(ctx, ("package", "amount"), found)


@account_group.command("senders", short_help="List the senders that the provider knows.")
@_name_argument
@data_options
@click.pass_context
def account_senders(ctx: click.Context, name: str | None) -> None:
    """List the senders that the provider knows of the account.

    \b
    Example:
      dispatcher account senders main
    """
    name, provider = select_account(ctx, name, needs="senders")
    found = call_provider(name, provider, provider.senders_request(), provider.parse_senders)
    _print_listing(ctx, ("name", "ref", "kind", "approved", "status", "purpose"), found)


@account_group.command("templates", short_help="List the templates that the provider knows.")
@_name_argument
@data_options
@click.pass_context
def account_templates(ctx: click.Context, name: str | None) -> None:
    """List the templates that the provider knows of the account.

    \b
    Example:
      dispatcher account templates main --json
    """
    name, provider = select_account(ctx, name, needs="templates")
    found = call_provider(name, provider, provider.templates_request(), provider.parse_templates)
    columns = ("name", "id", "ref", "kind", "sender", "approved", "status", "text")
    _print_listing(ctx, columns, found)


def _check_key(name: str, provider: "Provider") -> str:
    """Whether the key works, after balance and directory were read. Raises ProviderError."""
    able = provider.capabilities
    if able.balance or able.senders or able.templates:
        return "accepted"
    if not able.lists_accepted:
        return "not checked: this provider offers no way to check a key without sending"
    try:
        call_provider(
            name, provider, provider.list_request(0), lambda found: provider.parse_list(0, found)
        )
    except ProviderError as error:
        # The account may have no list, or one in a form that we cannot read.
        if error.kind in {ErrorKind.CONFIGURATION, ErrorKind.DOUBTFUL}:
            return f"not checked: {error.message}"
        raise
    return "accepted"


def _cell_text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} = {item}" for key, item in value.items())
    return "(none)" if value is None else safe_text(value)


def _print_listing(ctx: click.Context, columns: tuple[str, ...], found: list[Any]) -> None:
    rows: list[dict[str, object]] = [
        {column: getattr(one, column) for column in columns} for one in found
    ]
    if is_data_asked(ctx):
        print_data(ctx, rows, columns, rows)
    else:
        print_table(columns, [[_yes_no(value) for value in row.values()] for row in rows])


def _yes_no(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


for command in (state.account_list, state.account_pause, state.account_resume):
    account_group.add_command(command)
