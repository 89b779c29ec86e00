"""One message outside any recipient file: of `dispatcher send`, or the test of `--test-to`."""

import csv
import io
import time
from typing import TYPE_CHECKING, BinaryIO, TypedDict

import click

from dispatcher.errors import FileRefused, Refused, TimeRefused

if TYPE_CHECKING:
    from dispatcher.recipients.preview import RejectedRow
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission


class OneRecipient(TypedDict):
    """The fields of a SubmissionRequest that say whom it goes to."""

    source: BinaryIO
    source_name: str
    name: str
    is_generated: bool


def one_recipient(number: str, text: str) -> OneRecipient:
    """A table of one row in place of a recipient file; the text is its column `text`.

    The text is a value, not a template: braces in it are sent as they are.
    """
    from dispatcher.numbers.masking import mask_number

    table = io.StringIO(newline="")
    csv.writer(table).writerows([("phone", "text"), (number, text)])
    digits = "".join(char for char in number if char.isdigit())
    return {
        "source": io.BytesIO(table.getvalue().encode("utf-8", "surrogateescape")),
        "source_name": "send",
        "name": f"send to {mask_number(digits)}",
        "is_generated": True,
    }


def refusal_hint(refused: "RejectedRow") -> str:
    """What to do where the only recipient gets no message."""
    from dispatcher.numbers.masking import mask_number
    from dispatcher.submission.withheld import NOT_ALLOWED, ON_LIST

    if refused.reason == ON_LIST:
        return (
            f"nobody may text {mask_number(refused.msisdn or 0)} until `dispatcher suppression "
            "remove` takes it off"
        )
    if refused.reason == NOT_ALLOWED:
        return "add the number to `allow_only` of the account, or use another account"
    return "write the number with its country code, as in +919820011223"


def closed_until(submission: "ValidatedSubmission") -> str | None:
    """The sentence that the account's windows are closed, and until when; None if they are open."""
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
    """Raise Refused if a test message is wanted and the windows are closed now."""
    if number is not None and (closed := closed_until(submission)) is not None:
        raise TimeRefused(f"--test-to: {closed}", "submit it then, or leave --test-to out")


def send_test_message(
    store: "Store",
    submission: "ValidatedSubmission",
    text: str,
    number: str,
    *,
    within_s: float = 60.0,
) -> None:
    """Send a text to the person's own phone by the same route, and wait until it is accepted.

    Raises Refused if the provider has not accepted it `within_s`; it is cancelled then.
    """
    from contextlib import suppress

    from dispatcher.campaigns.control import cancel_campaign
    from dispatcher.campaigns.view import load_view
    from dispatcher.cli.campaign.progress import follow_campaign
    from dispatcher.status import MessageState
    from dispatcher.submission import acceptance, campaign_import, validation

    request = _test_request(submission.request, text, number)
    with validation.validated_submission(
        request,
        submission.provider,
        lambda _requested: submission.route,
        withheld=submission.withheld,
    ) as test:
        imported = campaign_import.import_rows(store, test, lambda _row: None)
        if not imported.preview.valid:
            campaign_import.discard_import(store, imported.job)
            refused = imported.preview.rejects[0]
            raise FileRefused(f"--test-to: {refused.reason}", refusal_hint(refused))
        acceptance.accept_import(store, imported)
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
            with suppress(Refused):  # it ended in the meantime
                cancel_campaign(store, reference)
    if not shown.total_submitted:
        names = (state.label for state in MessageState)
        states = ", ".join(name.replace("_", " ") for name in names if shown.counts[name])
        raise Refused(
            f"the test message was not accepted ({states}); nothing else was sent",
            f"`dispatcher campaign show {reference}` gives the reason",
        )
    click.echo("the test message was accepted: look at the phone before you answer", err=True)


def _test_request(request: "SubmissionRequest", text: str, number: str) -> "SubmissionRequest":
    """The same account, sender and kind; one recipient, and no time to wait for."""
    from dataclasses import replace

    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing

    return replace(
        request,
        **one_recipient(number, text),
        content=Content(text="{{text}}", flash=request.content.flash),
        column=None,
        sheet=None,
        sends_hidden=None,
        mapping={},
        limit=None,
        sample=None,
        idempotency_key=None,
        again=True,
        timing=Timing(one_off=True),
    )
