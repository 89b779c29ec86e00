"""Checks that ask the providers: key, balance, sender and template. Nothing is sent."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from dispatcher.config.settings import Settings
from dispatcher.doctor.result import CheckResult
from dispatcher.errors import ProviderError, Refused
from dispatcher.outbound.transport import fetch_once
from dispatcher.providers import provider_class
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.status import Kind
from dispatcher.types import Directory, HttpRequest, HttpResponse

T = TypeVar("T")
_LONGEST_S = 15.0


def ask_providers(settings: Settings) -> Iterator[CheckResult]:
    """Ask each account's provider, one after the other."""
    for name, account in settings.accounts.items():
        provider = provider_class(account.provider)(account)
        try:
            yield from _check_answers(name, provider, settings.notify.balance_below)
        except ProviderError as error:
            yield CheckResult(
                part="accounts",
                ok=False,
                what=f"{name}: {error.message}",
                remedy=error.hint or f"`dispatcher explain {error.error_code}`",
            )


def _check_answers(name: str, provider: Provider, mark: float | None) -> Iterator[CheckResult]:
    able, settings = provider.capabilities, provider.settings
    if able.balance:
        found = _fetch(provider, provider.balance_request(), provider.parse_balance)
        left = ", ".join(f"{one.amount} of {one.package}" for one in found) or "no package"
        is_low = mark is not None and any(float(one.amount) < mark for one in found)
        is_gone = bool(found) and all(one.amount <= 0 for one in found)
        yield CheckResult(
            part="accounts",
            ok=not is_gone,
            is_warning=is_low,
            what=f"{name}: the key is accepted, the balance is {left}",
            remedy="top up the account at the provider" if is_gone or is_low else None,
        )
    if not (able.senders or able.templates) or settings.sender is None:
        return
    senders = (
        _fetch(provider, provider.senders_request(), provider.parse_senders) if able.senders else []
    )
    templates = (
        _fetch(provider, provider.templates_request(), provider.parse_templates)
        if able.templates
        else []
    )
    directory = Directory(senders=tuple(senders), templates=tuple(templates))
    refusals = [_find_refusal(provider, directory, kind) for kind in Kind]
    possible = [kind for kind, why in zip(Kind, refusals, strict=True) if why is None]
    kinds = ", ".join(kind.value for kind in possible)
    yield CheckResult(
        part="accounts",
        ok=bool(possible),
        what=f"{name}: sender and template can be used for {kinds}"
        if possible
        else f"{name}: {refusals[0]}",
        remedy=None if possible else f"`dispatcher account check {name}` says more",
    )


def _find_refusal(provider: Provider, directory: Directory, kind: Kind) -> str | None:
    own = provider.settings
    wanted = RequestedRoute(kind=kind, sender=own.sender, template=own.template)
    try:
        provider.resolve_route(wanted, directory)
    except Refused as refusal:
        return refusal.message
    return None


def _fetch(provider: Provider, request: HttpRequest, parse: Callable[[HttpResponse], T]) -> T:
    own = provider.settings
    request = replace(request, proxy=own.proxy)
    return parse(fetch_once(request, timeout_s=min(own.timeout_s, _LONGEST_S)))
