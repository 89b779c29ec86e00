"""Submissions that give control away, or need what not every provider has: checked, said, asked."""

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher.cli.campaign.wait import report_submission
from dispatcher.cli.output import confirm, declined_exit, safe_text
from dispatcher.cli.provider_calls import accounts_with
from dispatcher.errors import Refused, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
    from dispatcher.submission.service import CompleteImport
    from dispatcher.types import Route

#: Options and the capability that each needs.
_NEEDS: Final = {
    "flash": ("--flash", "flash"),
    "contact_lists": ("--contact-list", "contact_lists"),
    "schedule_at_provider": ("--schedule-at-provider", "provider_scheduling"),
}
#: What there is for a recipient file only.
_OF_A_FILE: Final = {
    "fallbacks": "--fallback",
    "limit": "--limit",
    "mapping": "--map",
    "rejects": "--rejects",
    "test_to": "--test-to",
}


def check_features(
    ctx: click.Context, account: str, provider: "Provider", given: dict[str, Any]
) -> None:
    """Raises Refused for what the provider cannot do, naming the accounts that can."""
    for name, (option, capability) in _NEEDS.items():
        if given[name] and not getattr(provider.capabilities, capability):
            names = ", ".join(accounts_with(ctx, capability)) or "none in this configuration"
            raise Refused(
                f"account {account}: {provider.name} cannot do {option}",
                f"accounts that can: {names}",
            )
    able = provider.capabilities
    if given["template_vars"] and not (able.template_variables or able.templates):
        fill = {*accounts_with(ctx, "template_variables"), *accounts_with(ctx, "templates")}
        raise Refused(
            f"account {account}: {provider.name} fills no templates",
            f"accounts that can: {', '.join(sorted(fill)) or 'none in this configuration'}",
        )


def check_combinations(given: dict[str, Any]) -> None:
    """Raises UsageProblem for options of which one would be ignored beside the other."""
    if given["dry_run"] and given["test_to"]:
        raise UsageProblem("--dry-run sends nothing, --test-to does", "give one of them")
    if given["start_at"] and given["schedule_at_provider"]:
        raise UsageProblem(
            "--start-at and --schedule-at-provider are two ways to wait", "give one of them"
        )
    if not given["contact_lists"]:
        return
    if given["file"] is not None:
        raise UsageProblem("give a recipient FILE or --contact-list, not both")
    if given["zone"] == "recipient":
        raise UsageProblem(
            "--timezone recipient: who is on a contact list is known to the provider only",
            "name the zone of the windows",
        )
    for name, option in _OF_A_FILE.items():
        if given[name]:
            raise UsageProblem(
                f"--contact-list has no {option}", "the list is the provider's: leave it out"
            )


def say_scheduled(submission: "ValidatedSubmission") -> None:
    """Say what handing the schedule to the provider means."""
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.wording import format_local

    at = submission.request.content.schedule_at
    if at is not None:
        told = format_local(at, ZoneInfo(submission.provider.settings.timezone))
        click.secho(
            f"  note: it is handed over now, and the provider sends it at {told}: "
            "from then on pause and cancel cannot recall it",
            fg="yellow",
        )


def submit_to_lists(
    store: "Store",
    request: "SubmissionRequest",
    provider: "Provider",
    resolve: "Callable[[RequestedRoute], Route]",
    given: dict[str, Any],
) -> None:
    """Submit to contact lists of the provider's, after saying what is given away by that."""
    from dispatcher.submission import service

    lists = request.content.contact_lists
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("phone", "contact list"), *(("", each) for each in lists)])
    name = ", ".join(lists)
    request = replace(
        request,
        source=io.BytesIO(table.getvalue().encode()),
        source_name=f"contact lists {name}",
        name=given["name"] or f"contact lists {name}",
    )
    with service.validated_submission(request, provider, resolve) as submission:
        if not given["as_json"]:
            _print_list_notice(submission)
        if given["dry_run"]:
            return
        known = service.find_submitted(store, submission)
        if known is None:
            imported = service.import_lists(store, submission)
            _ask(store, imported, given)
    reference = str(known.id if known is not None else imported.job.campaign_id)
    what = "was submitted before with this key" if known is not None else "is scheduled"
    report_submission(store, reference, given["wait_for"], as_json=given["as_json"], what=what)


def _print_list_notice(submission: "ValidatedSubmission") -> None:
    from dispatcher.cli.campaign.preview import print_requested_terms

    source, account = submission.request.source_name, submission.request.account
    click.echo(f"to the {safe_text(source)} of account {account}")
    click.echo(f"  text: {safe_text(submission.content.text)}")
    click.secho(
        "  note: who is on them is known to the provider only. Duplicates and opt-outs are not "
        "removed, and there is one outcome for all, not one for each recipient.",
        fg="yellow",
    )
    print_requested_terms(submission)
    say_scheduled(submission)


def _ask(store: "Store", imported: "CompleteImport", given: dict[str, Any]) -> None:
    from dispatcher.submission import service

    accepted = False
    try:
        if confirm("Send to everybody on these lists?", given["yes"]):
            service.accept_import(store, imported)
            accepted = True
    finally:
        if not accepted:
            service.discard_import(store, imported.job)
    if not accepted:
        raise declined_exit("nothing was sent, and nothing is kept")
