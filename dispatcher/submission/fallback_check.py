"""Checks, when a campaign is submitted, that it can be sent through each fallback account."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dispatcher.campaigns.content import resolve_content
from dispatcher.campaigns.gate import check_windows_open
from dispatcher.errors import Refused, TextRefused
from dispatcher.policy.routes import AccountRoute
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.submission.request import ValidatedSubmission
from dispatcher.types import Route


def check_fallback(
    submission: ValidatedSubmission,
    account: str,
    provider: Provider,
    resolve: Callable[[RequestedRoute], Route],
) -> AccountRoute:
    """The route through a fallback account: its own sender and template, else the campaign's.

    Raises Refused, naming the account, if the campaign cannot be sent through it.
    """
    request, settings = submission.request, provider.settings
    requested = RequestedRoute(
        kind=request.kind,
        sender=settings.sender or request.sender,
        template=settings.template or request.template,
    )
    with naming_account(account):
        route = resolve(requested)
        content = resolve_content(request.content, provider, route)
        if not request.timing.in_recipients_zone:
            check_windows_open(settings, request.constraints, (None,), datetime.now(UTC))
    if (content.text, content.template_columns) != (
        submission.content.text, submission.content.template_columns,
    ):  # fmt: skip
        raise TextRefused(
            f"fallback account {account}: its template differs from the text of this campaign",
            "give --text, so that both accounts send the same",
        )
    return AccountRoute(account, route)


@contextmanager
def naming_account(account: str) -> Iterator[None]:
    """Put the name of the fallback account in front of a refusal raised in the block."""
    try:
        yield
    except Refused as refusal:
        raise type(refusal)(
            f"fallback account {account}: {refusal.message}", refusal.hint
        ) from None
