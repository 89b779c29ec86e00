"""`dispatcher send`: one message now, before any bulk batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.wait import report_submission, wait_option
from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.doubt import warn_of_doubt

if TYPE_CHECKING:
    from dispatcher.recipients.preview import Preview
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What was given on the command line; the command's options have the same names."""

    number: str
    text: str
    account: str | None
    sender: str | None
    template: str | None
    kind: str
    allow_mismatch: bool
    idempotency_key: str | None
    wait_for: str | None
    as_json: bool


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
    help="The kind of message: sets the provider's route and the account's windows.",
)
@click.option(
    "--allow-mismatch",
    is_flag=True,
    help="Send a text that does not fit the provider's registered template.",
)
@click.option("--idempotency-key", help="A second message with this key is not sent.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(SendOptions)
def send_command(ctx: click.Context, options: SendOptions) -> None:
    """Send TEXT to NUMBER now: before any bulk campaign, within the account's windows.

    It becomes a campaign of one recipient. With --wait the exit code is 1 if it was refused.

    \b
    Example:
      dispatcher send +919820011223 "Your code is 482913" --account main --wait
    """
    from dispatcher.cli.campaign.preflight import refuse_misfit
    from dispatcher.cli.campaign.single_message import closed_until, refusal_hint
    from dispatcher.cli.campaign.submit_checks import accepted_at_the_end
    from dispatcher.cli.provider_calls import fetch_directory, select_account
    from dispatcher.errors import Refused, TextRefused
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.submission import campaign_import, sameness, validation
    from dispatcher.submission.withheld import WithheldRecipients

    refuse_empty_options(ctx, but={"text"})
    if not options.text.strip():
        raise TextRefused("the text is empty", "give it in quotes after the number")
    account, provider = select_account(ctx, options.account)
    store = Store(settings_from(ctx).store.url)
    warn_of_doubt(store, to_stderr=True)
    with validation.validated_submission(
        _request_of_one(account, options),
        provider,
        lambda requested: provider.resolve_route(requested, fetch_directory(account, provider)),
        withheld=WithheldRecipients(store, account, provider.settings),
    ) as submission:
        if not options.allow_mismatch:
            refuse_misfit(submission.route, options.text)
        create_tables_if_new(store)
        known = None
        if options.idempotency_key is not None:
            known = sameness.find_submitted(store, submission)
        if known is None:
            imported = campaign_import.import_rows(store, submission, lambda _row: None)
            if not imported.preview.valid:
                campaign_import.discard_import(store, imported.job)
                refused = imported.preview.rejects[0]
                raise Refused(f"the message was not sent: {refused.reason}", refusal_hint(refused))
            with accepted_at_the_end(store, imported):
                _refuse_without_credit(store, submission, imported.preview)
    reference = str(imported.job.campaign_id if known is None else known.id)
    what = "is on its way" if known is None else "was sent before with this key"
    if known is None and (closed := closed_until(submission)) is not None:
        what = f"waits, {closed}"
        if options.wait_for is not None:
            click.echo(f"campaign {reference} {what}", err=True)
    report_submission(store, reference, options.wait_for, as_json=options.as_json, what=what)


def _refuse_without_credit(
    store: "Store", submission: "ValidatedSubmission", preview: "Preview"
) -> None:
    """Raises BalanceRefused where the provider would take no message, and pause the account.

    Only where it counts a credit for each part; a code that somebody waits for is not held up.
    """
    from dispatcher.cli.campaign.preflight import run_preflight
    from dispatcher.status import Kind

    if submission.provider.capabilities.credit_is_part and submission.request.kind != Kind.OTP:
        found = run_preflight(store, submission, allow_mismatch=True)
        found.refuse_too_little(submission, preview)


def _request_of_one(account: str, options: SendOptions) -> "SubmissionRequest":
    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing
    from dispatcher.cli.campaign.single_message import one_recipient
    from dispatcher.status import Kind
    from dispatcher.submission.request import SubmissionRequest

    return SubmissionRequest(
        **one_recipient(options.number, options.text),
        account=account,
        content=Content(text="{{text}}"),
        kind=Kind(options.kind),
        sender=options.sender,
        template=options.template,
        idempotency_key=options.idempotency_key,
        again=True,
        timing=Timing(one_off=True),
    )
