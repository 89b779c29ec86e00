"""`dispatcher send`: one message now, before any bulk batch."""

import csv
import io
import time
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.campaign.wait import report_submission, wait_option
from dispatcher.cli.context import refuse_empty_options, settings_from

if TYPE_CHECKING:
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission


@click.command("send")
@click.argument("number")
@click.argument("text")
@click.option("--account", help="The account to send with. [default: the only one configured]")
@click.option("--sender", help="The sender. [default: the account's]")
@click.option("--template", help="The provider's template. [default: the account's]")
@click.option(
    "--kind",
    type=click.Choice(["transactional", "promotional", "otp"]),
    default="transactional",
    show_default=True,
    help="What it is: decides the provider's route, and the account's windows.",
)
@click.option("--idempotency-key", help="Sending again with the same key changes nothing.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def send_command(ctx: click.Context, /, **given: Any) -> None:
    """Send TEXT to NUMBER now: released before any bulk batch, within the account's windows.

    It becomes a campaign of one recipient. With --wait the exit code is 1 where it was refused.

    \b
    Example:
      dispatcher send +919820011223 "Your code is 482913" --account main --kind otp --wait
    """
    from dispatcher.cli.provider_calls import fetch_directory, select_account
    from dispatcher.errors import Refused
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.submission import service

    refuse_empty_options(ctx, but={"text"})
    if not given["text"].strip():
        raise Refused("the text is empty", "give it in quotes after the number")
    account, provider = select_account(ctx, given["account"])
    store = Store(settings_from(ctx).store.url)
    with service.validated_submission(
        _build_request_of_one(account, given),
        provider,
        lambda requested: provider.resolve_route(requested, fetch_directory(account, provider)),
    ) as submission:
        create_tables_if_new(store)
        known = None
        if given["idempotency_key"] is not None:
            known = service.find_submitted(store, submission)
        if known is None:
            imported = service.import_rows(store, submission, lambda _row: None)
            if not imported.preview.valid:
                service.discard_import(store, imported.job)
                why = imported.preview.rejects[0].reason
                hint = "write the number with its country code, as in +919820011223"
                raise Refused(f"the message was not sent: {why}", hint)
            service.accept_import(store, imported)
    reference = str(imported.job.campaign_id if known is None else known.id)
    what = "is on its way" if known is None else "was sent before with this key"
    if known is None and (closed := closed_until(submission)) is not None:
        what = f"waits, {closed}"
        if given["wait_for"] is not None:
            click.echo(f"campaign {reference} {what}", err=True)
    report_submission(store, reference, given["wait_for"], as_json=given["as_json"], what=what)


def closed_until(submission: "ValidatedSubmission") -> str | None:
    """That the account's windows are closed now, and until when; None while they are open."""
    from dataclasses import replace
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.gate import campaign_schedule
    from dispatcher.campaigns.wording import format_local, windows_in_words

    settings, now = submission.provider.settings, datetime.now(UTC)
    constraints = replace(submission.request.constraints, schedule=None)
    opens = campaign_schedule(settings, constraints, None).next_open(now)
    if opens is None or opens <= now:
        return None
    at = format_local(opens, ZoneInfo(settings.timezone))
    windows = windows_in_words(settings, constraints, by_zone=False)
    return f"the windows are closed until {at}: {windows}"


def check_test_time(submission: "ValidatedSubmission", number: str | None) -> None:
    """Raises Refused where a test message, if one is wanted, could not leave now."""
    from dispatcher.errors import Refused

    if number is not None and (closed := closed_until(submission)) is not None:
        raise Refused(f"--test-to: {closed}", "submit it then, or leave --test-to out")


def send_test_message(
    store: "Store",
    submission: "ValidatedSubmission",
    text: str,
    number: str,
    *,
    within_s: float = 60.0,
) -> None:
    """Send a text to one's own phone, by the same route, and wait until the provider has it.

    Raises Refused where it is not taken `within_s`; it does not leave later then.
    """
    from contextlib import suppress
    from dataclasses import replace

    from dispatcher.campaigns import control
    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing
    from dispatcher.campaigns.view import load_view
    from dispatcher.cli.campaign.progress import follow_campaign
    from dispatcher.errors import Refused
    from dispatcher.status import MessageState
    from dispatcher.submission import service

    request = replace(
        submission.request,
        **_one_recipient(number, text),
        content=Content(text="{{text}}", flash=submission.request.content.flash),
        column=None,
        mapping={},
        limit=None,
        idempotency_key=None,
        again=True,
        timing=Timing(one_off=True),
    )
    with service.validated_submission(
        request, submission.provider, lambda _wish: submission.route
    ) as test:
        imported = service.import_rows(store, test, lambda _row: None)
        if not imported.preview.valid:
            service.discard_import(store, imported.job)
            raise Refused(f"--test-to: {imported.preview.rejects[0].reason}")
        service.accept_import(store, imported)
    give_up = time.monotonic() + within_s
    reference = str(imported.job.campaign_id)
    try:
        shown = follow_campaign(
            store,
            reference,
            lambda view: view.counts["pending"] == 0 or time.monotonic() > give_up,
            silent=True,
        )
    finally:
        if load_view(store, reference).counts["pending"]:
            with suppress(Refused):  # it has ended meanwhile
                control.cancel_campaign(store, reference)
    if not shown.total_submitted:
        names = (state.label for state in MessageState)
        states = ", ".join(name.replace("_", " ") for name in names if shown.counts[name])
        raise Refused(
            f"the test message was not accepted ({states}): nothing else was sent",
            f"`dispatcher campaign show {reference}` says why",
        )
    click.echo("the test message was accepted: look at the phone before you go on", err=True)


def _one_recipient(number: str, text: str) -> dict[str, Any]:
    from dispatcher.numbers.msisdn import mask_number

    # The text is a value, not a template: braces in it are sent as they are.
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("phone", "text"), (number, text)])
    digits = "".join(char for char in number if char.isdigit())
    return {
        "source": io.BytesIO(table.getvalue().encode("utf-8", "surrogateescape")),
        "source_name": "send",
        "name": f"send to {mask_number(digits)}",
    }


def _build_request_of_one(account: str, given: dict[str, Any]) -> "SubmissionRequest":
    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing
    from dispatcher.status import Kind
    from dispatcher.submission.request import SubmissionRequest

    return SubmissionRequest(
        **_one_recipient(given["number"], given["text"]),
        account=account,
        content=Content(text="{{text}}"),
        kind=Kind(given["kind"]),
        sender=given["sender"],
        template=given["template"],
        idempotency_key=given["idempotency_key"],
        again=True,
        timing=Timing(one_off=True),
    )
