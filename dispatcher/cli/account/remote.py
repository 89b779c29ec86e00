"""`dispatcher account`: what providers know of the accounts. Nothing here sends a message."""

from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.account import state
from dispatcher.cli.lazy import ConfiguredGroup
from dispatcher.cli.output import print_json, print_table, safe_text
from dispatcher.cli.provider_calls import ask, chosen, directory_of, own_settings, routes_of
from dispatcher.errors import DispatcherError, ErrorKind, ProviderError

if TYPE_CHECKING:
    from dispatcher.providers.base import Provider

_name = click.argument("name", required=False)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("account", cls=ConfiguredGroup)
def account() -> None:
    """Check the accounts at the providers.

    NAME is the account's in the configuration; it may be left out where there is only one.

    \b
    Example:
      dispatcher account check main
    """


@account.command("check", short_help="Ask whether key, sender and template work.")
@_name
@_json
@click.pass_context
def check(ctx: click.Context, name: str | None, *, as_json: bool) -> None:
    """Ask the provider whether the account works: key, balance, sender and template.

    Ends with 1 where the key is refused, or the configured sender and template cannot be used.

    \b
    Example:
      dispatcher account check main
    """
    name, provider = chosen(ctx, name)
    settings, able = provider.settings, provider.capabilities
    report: dict[str, Any] = {
        "account": name,
        "provider": provider.name,
        "base_url": settings.base_url,
        **own_settings(provider),
    }
    if able.balance:
        balances = ask(name, provider, provider.balance_request(), provider.parse_balance)
        report["balance"] = {one.package: one.amount for one in balances}
    directory = directory_of(name, provider)
    report["key"] = _key(name, provider)
    report |= {"sender": settings.sender, "template": settings.template}
    report["campaigns"] = routes = routes_of(provider, directory)
    if as_json:
        print_json(report)
    else:
        campaigns = {f"{kind} campaigns": verdict for kind, verdict in routes.items()}
        lines = {key: value for key, value in report.items() if key != "campaigns"} | campaigns
        print_table(("what", "value"), [(key, _shown(value)) for key, value in lines.items()])
    complete = settings.sender and (settings.template or not able.templates)
    if complete and "possible" not in routes.values():
        raise DispatcherError(
            f"account {name}: no campaign can be sent with the configured sender and template",
            next(iter(routes.values())),
        )


@account.command("balance", short_help="What is left, in the provider's unit.")
@_name
@_json
@click.pass_context
def balance(ctx: click.Context, name: str | None, *, as_json: bool) -> None:
    """Show what is left of the account's packages, in the provider's unit.

    \b
    Example:
      dispatcher account balance main
    """
    name, provider = chosen(ctx, name, needs="balance")
    found = ask(name, provider, provider.balance_request(), provider.parse_balance)
    _show(("package", "amount"), found, as_json=as_json)


@account.command("senders", short_help="The senders that the provider knows.")
@_name
@_json
@click.pass_context
def senders(ctx: click.Context, name: str | None, *, as_json: bool) -> None:
    """List the senders that the provider knows of the account.

    \b
    Example:
      dispatcher account senders main
    """
    name, provider = chosen(ctx, name, needs="senders")
    found = ask(name, provider, provider.senders_request(), provider.parse_senders)
    _show(("name", "ref", "kind", "approved", "status", "purpose"), found, as_json=as_json)


@account.command("templates", short_help="The templates that the provider knows.")
@_name
@_json
@click.pass_context
def templates(ctx: click.Context, name: str | None, *, as_json: bool) -> None:
    """List the templates that the provider knows of the account.

    \b
    Example:
      dispatcher account templates main --json
    """
    name, provider = chosen(ctx, name, needs="templates")
    found = ask(name, provider, provider.templates_request(), provider.parse_templates)
    columns = ("name", "id", "ref", "kind", "sender", "approved", "status", "text")
    _show(columns, found, as_json=as_json)


def _key(name: str, provider: "Provider") -> str:
    """What is known of the key once balance and directory were read. Raises ProviderError."""
    able = provider.capabilities
    if able.balance or able.senders or able.templates:
        return "accepted"
    if not able.lists_accepted:
        return "not checked: this provider has no call that does not send"
    try:
        ask(name, provider, provider.list_request(0), lambda found: provider.parse_list(0, found))
    except ProviderError as error:
        # The account may have no list, or one that is not as it should be.
        if error.kind in {ErrorKind.CONFIGURATION, ErrorKind.DOUBTFUL}:
            return f"not checked: {error.message}"
        raise
    return "accepted"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} = {item}" for key, item in value.items())
    return "(none)" if value is None else safe_text(value)


def _show(columns: tuple[str, ...], found: list[Any], *, as_json: bool) -> None:
    rows = [{column: getattr(one, column) for column in columns} for one in found]
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [[_cell(value) for value in row.values()] for row in rows])


def _cell(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


for command in (state.list_, state.pause, state.resume):
    account.add_command(command)
