"""The last question of `campaign submit`: how many, in how many parts, what it costs, and when."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dispatcher.cli.campaign.format_report import hidden_rows
from dispatcher.cli.campaign.submit_checks import NOTHING_KEPT
from dispatcher.cli.output import pluralize
from dispatcher.cli.question import can_ask, require_number, require_yes
from dispatcher.errors import Refused

if TYPE_CHECKING:
    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.recipients.preview import Preview
    from dispatcher.submission.cost_estimate import CostEstimate
    from dispatcher.submission.request import ValidatedSubmission

#: Above so many a person types the number where the account sets no other ceiling.
TYPED_ABOVE: Final = 10_000


def check_confirmed(
    submission: "ValidatedSubmission",
    options: "SubmitOptions",
    valid: int,
    cost: "CostEstimate | None",
) -> None:
    """Raise Refused if `--confirm` names another number, or is missing where it must be given.

    `--yes` answers for campaigns below the ceilings that the account sets, not above them.
    """
    if options.confirm is not None:
        if options.confirm != valid:
            raise Refused(
                f"--confirm says {options.confirm}, and {pluralize(valid, 'recipient')} would get "
                "a message",
                f"look at the preview; if it is right, give --confirm {valid}",
            )
        return
    ceiling = _exceeded_ceiling(submission, valid, cost)
    if ceiling is not None and not can_ask(options.yes, is_piped=options.reads_standard_input):
        why = "--yes does not answer for so many" if options.yes else "nobody can be asked here"
        raise Refused(f"{ceiling}: {why}", f"give --confirm {valid}")


def confirm_sending(
    submission: "ValidatedSubmission",
    preview: "Preview",
    cost: "CostEstimate | None",
    options: "SubmitOptions",
) -> None:
    """Ask before sending, where a person can be asked; above a ceiling for the number."""
    if options.confirm is not None or options.yes:
        return
    valid = preview.valid
    what = _describe_sending(submission, preview, cost)
    ceiling = _exceeded_ceiling(submission, valid, cost)
    is_piped = options.reads_standard_input
    if ceiling is None and valid <= (
        submission.provider.settings.confirm_above_recipients or TYPED_ABOVE
    ):
        require_yes(f"{what}?", False, otherwise=NOTHING_KEPT, is_piped=is_piped)
        return
    question = f"{what}. Type the number of recipients to go on"
    require_number(question, valid, otherwise=NOTHING_KEPT, is_piped=is_piped)


def _exceeded_ceiling(
    submission: "ValidatedSubmission", valid: int, cost: "CostEstimate | None"
) -> str | None:
    """Which ceiling of the account is exceeded, in words."""
    settings = submission.provider.settings
    most, most_cost = settings.confirm_above_recipients, settings.confirm_above_cost
    if most is not None and valid > most:
        recipients = pluralize(valid, "recipient")
        return f"{recipients}, and the account's `confirm_above_recipients` is {most}"
    if most_cost is not None and cost is not None and cost.total > most_cost:
        return f"{cost.in_words}, and the account's `confirm_above_cost` is {most_cost:.15g}"
    return None


def _describe_sending(
    submission: "ValidatedSubmission", preview: "Preview", cost: "CostEstimate | None"
) -> str:
    """`Send to 2 recipients, 4 parts, about 1.20, from Tue 2026-12-01 09:00 Asia/Kolkata`."""
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.wording import format_day

    said = [f"Send to {pluralize(preview.valid, 'recipient')}"]
    if submission.request.sends_hidden is None and (hidden := hidden_rows(submission.file)):
        said.append(f"also those of {pluralize(len(hidden), 'hidden row')}")
    if preview.parts != preview.valid:
        said.append(pluralize(preview.parts, "part"))
    if cost is not None:
        said.append(cost.in_words)
    start = submission.request.timing.start_at
    if start is not None and start > datetime.now(UTC):
        zone = ZoneInfo(submission.provider.settings.timezone)
        said.append(f"from {format_day(start, zone)}")
    return ", ".join(said)
