"""`dispatcher rehearse`: the very campaign, at once, at simulated providers; nothing is sent."""

import os
import shlex
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.campaign.submit import campaign_submit
from dispatcher.cli.campaign.submit_options import SubmitOptions
from dispatcher.cli.context import refuse_empty_options, session_of, with_options
from dispatcher.errors import TextRefused, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.config.settings import Settings
    from dispatcher.local.sandbox import Sandbox
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.rehearsal.run import Outcome
    from dispatcher.submission.request import ValidatedSubmission
    from dispatcher.types import Route

_GIVEN: Final = "dispatcher.rehearse.given"


class _KeepsArguments(click.Command):
    """A command that knows what was typed, to print the command that comes next."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, and keep them as they were given."""
        ctx.meta[_GIVEN] = list(args)
        return super().parse_args(ctx, args)


@click.command("rehearse", cls=_KeepsArguments)
@with_options(SubmitOptions)
def rehearse_command(ctx: click.Context, options: SubmitOptions) -> None:
    """Run a campaign now at simulated providers, and show what will happen.

    Takes the options of `campaign submit`. Broker, store and workers are its own, in a temporary
    folder: nothing is sent, no provider is asked, no key is needed, and nothing is left behind.
    Your own store is read only for what earlier messages cost.

    \b
    Example:
      dispatcher rehearse people.csv --account main --text "Hello {{name}}"
    """
    from dispatcher.cli.campaign.submit_checks import check_combinations
    from dispatcher.rehearsal.run import running_rehearsal
    from dispatcher.rehearsal.settings import rehearsal_settings

    refuse_empty_options(ctx, but={"text"})
    check_combinations(options)
    if options.contact_lists:
        raise Unsupported(
            "a contact list cannot be rehearsed: only the provider knows who is on it",
            "leave out --contact-list, and name a recipient FILE",
        )
    session, environ = session_of(ctx), dict(os.environ)
    with running_rehearsal() as (sandbox, base_urls):
        # From here on every account is at the simulator.
        session.settings = rehearsal_settings(session.config, environ, base_urls, sandbox.store_url)
        _rehearse(ctx, options, sandbox, session.settings)


def _rehearse(
    ctx: click.Context, options: SubmitOptions, sandbox: "Sandbox", settings: "Settings"
) -> None:
    """Check the campaign as `campaign submit` does, run it, and show what came of it."""
    from dispatcher.cli.campaign import rehearsal_report
    from dispatcher.cli.campaign.fallbacks import add_fallbacks
    from dispatcher.cli.campaign.rejects import open_rejects
    from dispatcher.cli.campaign.submit_checks import check_features
    from dispatcher.cli.campaign.submit_options import build_request
    from dispatcher.cli.provider_calls import select_account
    from dispatcher.errors import FileRefused
    from dispatcher.rehearsal.prices import estimate_real_cost
    from dispatcher.rehearsal.run import keep_input, open_request
    from dispatcher.submission import validation

    account, provider = select_account(ctx, options.account)
    check_features(ctx, account, provider, options)
    _refuse_unknown_text(options, provider)
    request = keep_input(sandbox, build_request(options, account, provider))
    resolve = partial(_assume_route, account)
    with validation.validated_submission(request, provider, partial(resolve, provider)) as checked:
        submission = add_fallbacks(ctx, checked, options, _assume_route)
        with open_rejects(submission, options.rejects) as rejected:
            preview = validation.dry_run(submission, lambda _row: None, rejected)
    if not options.as_json:
        rehearsal_report.print_beginning(submission, preview)
    if not preview.valid:
        raise FileRefused(
            "nothing can be rehearsed: no row of the file can be sent",
            "--rejects FILE writes the reason of every row",
        )
    cost = estimate_real_cost(session_of(ctx).config, os.environ, account, preview)
    opened = open_request(submission, preview)
    with validation.validated_submission(
        opened.request, opened.provider, partial(resolve, opened.provider)
    ) as again:
        outcome = _run_and_show(sandbox, settings, again, opened.faster, silent=options.as_json)
    report = rehearsal_report.RehearsalReport(
        submission, preview, cost, opened, outcome, _next_command(ctx)
    )
    if options.as_json:
        report.print_json()
    else:
        report.print_all()
    report.refuse_disagreement()


def _run_and_show(
    sandbox: "Sandbox",
    settings: "Settings",
    submission: "ValidatedSubmission",
    faster: float,
    *,
    silent: bool,
) -> "Outcome":
    from dispatcher.cli.campaign.pace import SubmissionPace
    from dispatcher.cli.campaign.progress import ProgressDisplay
    from dispatcher.rehearsal.run import run_rehearsal

    if silent:
        return run_rehearsal(sandbox, settings, submission, faster, lambda _view: None)
    pace = SubmissionPace()
    with ProgressDisplay() as screen:

        def show(view: "CampaignView") -> None:
            pace.add_observation(view.total_submitted)
            screen.show_progress(view, pace)

        return run_rehearsal(sandbox, settings, submission, faster, show)


def _assume_route(name: str, provider: "Provider", requested: "RequestedRoute") -> "Route":
    from dispatcher.cli.provider_calls import fetch_directory
    from dispatcher.rehearsal.run import assumed_route

    return assumed_route(provider, requested, fetch_directory(name, provider))


def _refuse_unknown_text(options: SubmitOptions, provider: "Provider") -> None:
    """Raises Refused where only the provider has the text: a rehearsal asks no provider."""
    if options.text is None and options.text_file is None:
        able = provider.capabilities
        if able.templates and not able.template_variables:
            raise TextRefused(
                "the text of the template is at the provider, which a rehearsal does not ask",
                "give it with --text or --text-file",
            )


def _next_command(ctx: click.Context) -> str:
    """The command that submits the campaign that was rehearsed."""
    given: Sequence[str] = ctx.meta[_GIVEN]
    config: Path | None = session_of(ctx).config
    named = any(each == "--config" or each.startswith("--config=") for each in given)
    before = [] if config is None or named else ["--config", str(config)]
    return shlex.join(["dispatcher", *before, "campaign", "submit", *given])


rehearse_command.params = list(campaign_submit.params)
