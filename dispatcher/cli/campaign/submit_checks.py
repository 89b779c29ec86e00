"""What a submission is checked for before anything is read, and how it is accepted or dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dispatcher.cli.provider_calls import accounts_with
from dispatcher.errors import Refused, Unsupported, WrongOptions

if TYPE_CHECKING:
    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.local.signals import NotedInterrupts
    from dispatcher.providers.base import Provider
    from dispatcher.store.engine import Store
    from dispatcher.submission.acceptance import CompleteImport
    from dispatcher.submission.request import ValidatedSubmission

#: What holds after a no, or Ctrl-C at the question.
NOTHING_KEPT = "nothing was sent, and nothing is kept"


def check_features(
    ctx: click.Context, account: str, provider: "Provider", options: "SubmitOptions"
) -> None:
    """Raise Refused for what the provider cannot do, naming the accounts that can."""
    wanted = (
        (options.flash, "--flash", ["flash"]),
        (options.contact_lists, "--contact-list", ["contact_lists"]),
        (options.schedule_at_provider, "--schedule-at-provider", ["provider_scheduling"]),
        (options.template_vars, "--template-vars", ["template_variables", "templates"]),
    )
    for value, option, capabilities in wanted:
        able = provider.capabilities
        if value and not any(getattr(able, capability) for capability in capabilities):
            others = {name for each in capabilities for name in accounts_with(ctx, each)}
            raise Unsupported(
                f"account {account}: its provider {provider.name} does not support {option}",
                f"accounts that do: {', '.join(sorted(others)) or 'none in this configuration'}",
            )


def check_combinations(options: "SubmitOptions") -> None:
    """Raise UsageProblem for two options of which one would be ignored."""
    if options.dry_run and options.test_to:
        raise WrongOptions("--dry-run sends nothing, but --test-to does", "give one of them")
    if options.start_at and options.schedule_at_provider:
        raise WrongOptions(
            "--start-at and --schedule-at-provider both set the time of sending", "give one of them"
        )
    if options.sample and not options.test_to and not options.dry_run:
        raise WrongOptions(
            "--sample sends texts of random recipients to yourself, and no number is given",
            "give --test-to NUMBER, or --dry-run to see the texts only",
        )
    if options.contact_lists:
        _check_list_options(options)


def _check_list_options(options: "SubmitOptions") -> None:
    """Refuse options that need a recipient file: a contact list has none."""
    if options.file is not None:
        raise WrongOptions("a recipient FILE and --contact-list are both given", "give one of them")
    if options.in_recipients_zone:
        raise WrongOptions(
            "--timezone recipient needs a recipient FILE; the people on a contact list are not "
            "known here",
            "name the zone of the windows, as in --timezone Asia/Kolkata",
        )
    for value, option in (
        (options.fallbacks, "--fallback"),
        (options.limit, "--limit"),
        (options.sample, "--sample"),
        (options.confirm, "--confirm"),
        (options.mapping, "--map"),
        (options.rejects, "--rejects"),
        (options.sheet, "--sheet"),
        (options.hidden_rows, "--hidden-rows"),
        (options.test_to, "--test-to"),
    ):
        if value:
            raise WrongOptions(
                f"{option} needs a recipient FILE; the people on a contact list are not known here",
                "leave it out",
            )


def print_schedule_note(submission: "ValidatedSubmission") -> None:
    """Say that a campaign scheduled at the provider cannot be recalled; nothing for others."""
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.wording import format_local

    at = submission.request.content.schedule_at
    if at is not None:
        when = format_local(at, ZoneInfo(submission.provider.settings.timezone))
        click.secho(
            f"  note: the messages are submitted now, and the provider sends them at {when}: "
            "after that, pause and cancel cannot recall them",
            fg="yellow",
        )


@contextmanager
def accepted_at_the_end(
    store: "Store", imported: "CompleteImport", interrupts: "NotedInterrupts | None" = None
) -> Iterator[None]:
    """Accept the import after the block, which shows and asks; discard it if the block raises.

    One of `interrupts` that Python has dropped counts too.
    """
    from dispatcher.submission import acceptance, campaign_import

    try:
        yield
        if interrupts is not None:
            interrupts.raise_noted()
        acceptance.accept_import(store, imported)
    except KeyboardInterrupt:
        try:
            campaign_import.discard_import(store, imported.job)
        except Refused:  # it was accepted before Ctrl-C came
            reference = imported.job.campaign_id
            raise KeyboardInterrupt(
                f"campaign {reference} goes on: `dispatcher campaign show {reference}`"
            ) from None
        raise KeyboardInterrupt(NOTHING_KEPT) from None
    except acceptance.AcceptanceUnknown:
        raise
    except BaseException:
        campaign_import.discard_import(store, imported.job)
        raise
