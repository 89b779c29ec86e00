"""Requests of commands to providers, outside any campaign: they only read."""

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import click

from dispatcher.cli.context import settings_from
from dispatcher.errors import NotFound, ProviderError, Refused, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.config.settings import Settings
    from dispatcher.providers.base import Provider
    from dispatcher.types import Directory, HttpRequest, HttpResponse

T = TypeVar("T")


def select_account(
    ctx: click.Context, name: str | None, needs: str | None = None
) -> "tuple[str, Provider]":
    """The account with this name and its adapter; without a name, the only account.

    `needs` is the name of a capability. Raises UsageProblem or ConfigError, and Refused if the
    provider lacks the capability.
    """
    settings = settings_from(ctx)
    if name is None:
        if len(settings.accounts) != 1:
            every = ", ".join(settings.accounts)
            missing = f"; {settings.missing_file}" if settings.missing_file else ""
            raise NotFound(
                "there are several accounts" if every else "no account is configured",
                f"name one of them: {every}"
                if every
                else f"add one under [accounts.NAME]{missing}",
            )
        (name,) = settings.accounts
    provider = provider_of(settings, name)
    if needs is not None and not getattr(provider.capabilities, needs):
        able = accounts_with(ctx, needs)
        raise Unsupported(
            f"account {name}: its provider {provider.name} has no request for {needs}",
            f"accounts whose provider has one: {', '.join(able) or 'none in this configuration'}",
        )
    return name, provider


def accounts_with(ctx: click.Context, capability: str) -> list[str]:
    """The names of the configured accounts whose providers have a capability."""
    settings = settings_from(ctx)
    return [
        name
        for name in settings.accounts
        if getattr(provider_of(settings, name).capabilities, capability)
    ]


def provider_of(settings: "Settings", name: str) -> "Provider":
    """The adapter of an account. Raises ConfigError."""
    from dispatcher.providers import provider_class

    account_settings = settings.account(name)
    return provider_class(account_settings.provider)(account_settings)


def call_provider(
    name: str, provider: "Provider", request: "HttpRequest", parse: "Callable[[HttpResponse], T]"
) -> T:
    """Make a request that only reads, and parse its answer.

    Raises ProviderError with the account in its message.
    """
    from dispatcher.outbound.transport import fetch_once

    settings = provider.settings
    request = replace(request, proxy=settings.proxy)
    try:
        return parse(fetch_once(request, timeout_s=settings.timeout_s))
    except ProviderError as error:
        message = f"account {name}: {error.message}"
        raise ProviderError(error.kind, message, code=error.code, hint=error.hint) from None


def fetch_directory(name: str, provider: "Provider") -> "Directory":
    """The senders and templates that the provider lists; empty if it lists none.

    Raises ProviderError.
    """
    from dispatcher.types import Directory, SenderId, Template

    senders_found: list[SenderId] = []
    templates_found: list[Template] = []
    if provider.capabilities.senders:
        senders_found = call_provider(
            name, provider, provider.senders_request(), provider.parse_senders
        )
    if provider.capabilities.templates:
        request = provider.templates_request()
        templates_found = call_provider(name, provider, request, provider.parse_templates)
    return Directory(senders=tuple(senders_found), templates=tuple(templates_found))


def check_routes(provider: "Provider", directory: "Directory") -> dict[str, str]:
    """For each kind of campaign: `possible`, or why sender or template cannot be used."""
    from dispatcher.providers.base import RequestedRoute
    from dispatcher.status import Kind

    settings = provider.settings
    routes = {}
    for kind in Kind:
        requested = RequestedRoute(kind=kind, sender=settings.sender, template=settings.template)
        try:
            provider.resolve_route(requested, directory)
        except Refused as refusal:
            routes[kind.value] = refusal.message
        else:
            routes[kind.value] = "possible"
    return routes


def specific_settings(provider: "Provider") -> dict[str, object]:
    """The settings that only this provider's accounts have, without secrets."""
    from pydantic import SecretStr

    from dispatcher.providers.shared.settings import ProviderSettings

    own = set(provider.settings_type.model_fields) - set(ProviderSettings.model_fields)
    values: dict[str, object] = {key: getattr(provider.settings, key) for key in sorted(own)}
    return {key: value for key, value in values.items() if not isinstance(value, SecretStr)}
