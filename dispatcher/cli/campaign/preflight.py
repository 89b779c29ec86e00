"""What is asked of the provider before a campaign is accepted: does the text fit, is there credit.

Sender and template are checked where the route is found.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.campaign.credit import AccountCredit, Preflight
from dispatcher.cli.output import safe_text
from dispatcher.cli.provider_calls import call_provider, fetch_directory
from dispatcher.errors import ErrorKind, ProviderError, StoreError, TextRefused
from dispatcher.providers import provider_class

#: Failures of a provider that may answer later.
_SILENT: Final = frozenset({ErrorKind.UNREACHABLE, ErrorKind.DOUBTFUL, ErrorKind.THROTTLED})

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.status import Kind
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
    from dispatcher.types import Balance, Route


def find_route(
    request: "SubmissionRequest",
    provider: "Provider",
    options: "SubmitOptions",
    requested: "RequestedRoute",
) -> "Route":
    """The route at the provider, which is asked what the account has.

    A provider that does not answer is asked again before the first batch of a campaign that is sent
    later. Raises ProviderError where it is needed now, and Refused.
    """
    from dispatcher.submission.request import SOON, first_opening
    from dispatcher.types import Route

    try:
        directory = fetch_directory(request.account, provider)
    except ProviderError as error:
        now = datetime.now(UTC)
        can_wait = error.kind in _SILENT and first_opening(request, provider, now) - now > SOON
        # Each of these needs an answer now.
        needs_it = options.fallbacks or options.test_to or options.allow_mismatch
        if not can_wait or needs_it or requested.sender is None or options.contact_lists:
            raise
        if request.content.text is None or (
            provider.capabilities.templates and requested.template is None
        ):
            raise
        words = f"note: sender and template are checked before the first batch: {error.message}"
        click.secho(safe_text(words), fg="yellow", err=True)
        return Route(sender=requested.sender, template=requested.template, is_found=False)
    return provider.resolve_route(requested, directory)


def refuse_misfit(route: "Route", text: str) -> None:
    """Raises TextRefused, with the place, for a text unlike the template that the provider has."""
    from dispatcher.text.registered import find_misfit

    registered = route.template_text
    if not registered or (misfit := find_misfit(registered, text)) is None:
        return
    before = f"after {misfit.after!r} " if misfit.after else "at its beginning "
    wanted = f"has {misfit.wanted!r}" if misfit.wanted else "ends"
    found = f"has {misfit.found!r}" if misfit.found else "ends"
    raise TextRefused(
        f"the text does not fit the template {route.template!r}: {before}the template "
        f"{wanted}, the text {found}",
        f"the template is: {registered} – change the text, or name another --template; "
        "--allow-mismatch sends it anyway",
    )


def run_preflight(
    store: "Store", submission: "ValidatedSubmission", *, allow_mismatch: bool
) -> Preflight:
    """Compare text and templates, and ask for balances, at the account and its fallbacks.

    A provider that does not answer says nothing, since it may answer again when it is sent; nor
    does a store that cannot be read: a dry run needs none. Raises ProviderError if it refuses,
    TextRefused, with the place, for a text unlike its registered template.
    """
    from dispatcher.submission.fallback_check import naming_account

    text, own = submission.content.text, submission.request.account
    if not allow_mismatch:
        refuse_misfit(submission.route, text)
        for leg in submission.fallbacks:
            with naming_account(leg.account):
                refuse_misfit(leg.route, text)
    fallbacks = {
        name: provider_class(settings.provider)(settings)
        for name, settings in submission.fallback_settings.items()
    }
    providers = {own: submission.provider, **fallbacks}
    kind = submission.request.kind
    return Preflight([_ask_for_credit(store, *each, kind) for each in providers.items()])


def _ask_for_credit(
    store: "Store", account: str, provider: "Provider", kind: "Kind"
) -> AccountCredit:
    from dispatcher.store import workloads

    balances, trouble = _balances_or_trouble(account, provider)
    try:
        with store.read() as conn:
            open_work = workloads.load_open_work(conn, account)
    except StoreError:
        open_work = []
    return AccountCredit(
        store=store,
        account=account,
        provider=provider,
        balances=balances,
        parts_of_others=sum(work.parts for work in open_work if work.campaign.kind == kind),
        trouble=trouble,
    )


def _balances_or_trouble(
    account: str, provider: "Provider"
) -> "tuple[Sequence[Balance], str | None]":
    """What is left, and why that is not known."""
    if not provider.capabilities.balance:
        return (), None
    request = provider.balance_request()
    try:
        return call_provider(account, provider, request, provider.parse_balance), None
    except ProviderError as error:
        if error.kind is ErrorKind.CREDENTIALS:
            raise
        return (), error.message
