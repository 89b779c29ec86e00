"""`--fallback`: each account is asked and checked as the campaign's own was."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.campaign.submit_checks import check_features
from dispatcher.cli.provider_calls import fetch_directory, select_account
from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.policy.routes import AccountRoute
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.submission.request import ValidatedSubmission
    from dispatcher.types import Route


def add_fallbacks(
    ctx: click.Context, submission: "ValidatedSubmission", given: dict[str, Any]
) -> "ValidatedSubmission":
    """The submission with its fallback accounts. Raises Refused, naming the account."""
    from dispatcher.submission.fallback_check import check_fallback

    legs: list[AccountRoute] = []
    settings = {}
    for wanted in given["fallbacks"]:
        name, provider = select_account(ctx, wanted)
        if name in {submission.request.account, *(leg.account for leg in legs)}:
            raise UsageProblem(
                f"--fallback {name}: the campaign has this account already",
                hint="name another account, or leave it out",
            )
        check_features(ctx, name, provider, given)
        legs.append(
            check_fallback(submission, name, provider, partial(_resolve_route, name, provider))
        )
        settings[name] = provider.settings
    return replace(submission, fallbacks=tuple(legs), fallback_settings=settings)


def _resolve_route(name: str, provider: "Provider", requested: "RequestedRoute") -> "Route":
    return provider.resolve_route(requested, fetch_directory(name, provider))
