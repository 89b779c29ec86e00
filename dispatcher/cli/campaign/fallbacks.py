"""`--fallback`: each further account gets the same checks as the campaign's own."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.submit_checks import check_features
from dispatcher.cli.provider_calls import fetch_directory, select_account
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.policy.routes import AccountRoute
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.submission.request import ValidatedSubmission
    from dispatcher.types import Route


def add_fallbacks(
    ctx: click.Context,
    submission: "ValidatedSubmission",
    options: "SubmitOptions",
    resolve: "Callable[[str, Provider, RequestedRoute], Route] | None" = None,
) -> "ValidatedSubmission":
    """The submission with its fallback accounts; `resolve` finds a route of an account.

    By default it asks the provider. Raises UsageProblem or Refused.
    """
    from dispatcher.submission.fallback_check import check_fallback

    found: list[AccountRoute] = []
    settings = {}
    for wanted in options.fallbacks:
        name, provider = select_account(ctx, wanted)
        if name in {submission.request.account, *(route.account for route in found)}:
            raise WrongOptions(
                f"--fallback {name}: the campaign already uses this account",
                "name another account, or leave it out",
            )
        check_features(ctx, name, provider, options)
        found.append(
            check_fallback(
                submission, name, provider, partial(resolve or _resolve_route, name, provider)
            )
        )
        settings[name] = provider.settings
    return replace(submission, fallbacks=tuple(found), fallback_settings=settings)


def _resolve_route(name: str, provider: "Provider", requested: "RequestedRoute") -> "Route":
    return provider.resolve_route(requested, fetch_directory(name, provider))
