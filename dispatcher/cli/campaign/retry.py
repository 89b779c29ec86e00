"""`dispatcher campaign failures | retry`: who was not reached, why, and another attempt."""

import shlex
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.campaign.columns import FAILURE_COLUMNS
from dispatcher.cli.campaign.resolve import print_outcome
from dispatcher.cli.context import settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import pluralize, print_line, safe_text
from dispatcher.cli.question import require_yes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.campaigns.failures import FailureGroup, ReasonsOf
    from dispatcher.config.settings import Settings
    from dispatcher.policy.failure_reasons import Explanation
    from dispatcher.store.rows import CampaignRow

_STATES: Final = ("failed", "undelivered", "expired", "rejected")
#: States of those who got no request: they did not fail.
_NEVER_SUBMITTED: Final = ("cancelled", "lapsed", "suppressed")
_INDENT: Final = " " * 13


@click.command("failures")
@click.argument("reference", metavar="CAMPAIGN")
@data_options
@click.pass_context
def campaign_failures(ctx: click.Context, reference: str) -> None:
    """Show who was not reached, by reason: what it means, what to do, and how to try again.

    \b
    Example:
      dispatcher campaign failures 1
    """
    from dispatcher.campaigns.control import check_not_purged
    from dispatcher.campaigns.failures import group_failures
    from dispatcher.campaigns.view import load_view
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    store = Store(settings.store.url)
    shown = load_view(store, reference)
    campaign = shown.campaign
    check_not_purged(campaign)
    groups = group_failures(store, [campaign], reasons_of_providers(settings))
    total = sum(group.recipients for group in groups)
    if is_data_asked(ctx):
        failures = [_group_json(settings, campaign, group) for group in groups]
        data = {
            "id": campaign.id,
            "name": campaign.name,
            "total": campaign.total,
            "not_reached": total,
            "failures": failures,
        }
        print_data(ctx, data, FAILURE_COLUMNS, failures)
        return
    print_line(
        f"campaign {campaign.id}  {safe_text(campaign.name)}: {total:,} of "
        f"{pluralize(campaign.total, 'recipient')} were not reached"
    )
    if never := sum(shown.counts[state] for state in _NEVER_SUBMITTED):
        why = ", ".join(f"{n} {s}" for s in _NEVER_SUBMITTED if (n := shown.counts[s]))
        print_line(f"{pluralize(never, 'other was', 'others were')} never submitted: {why}")
    if is_open := shown.tally.pending + shown.tally.waiting:
        words = pluralize(is_open, "is pending or waits", "are pending or wait")
        click.echo(f"{words} for a receipt: more may follow")
    for group in groups:
        _print_group(settings, campaign, group)
    if in_doubt := shown.counts["in_doubt"]:
        click.echo()
        print_line(
            f"{pluralize(in_doubt, 'recipient is', 'recipients are')} in doubt and not counted "
            f"here: `dispatcher campaign show {campaign.id}` says what to do",
            style={"fg": "red"},
        )


@click.command("retry")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True,
              help="Who is tried again; repeatable. [default: failed]")  # fmt: skip
@click.option("--reason", "reasons", metavar="TEXT", multiple=True,
              help="Only with this reason, as `failures` shows it; repeatable.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_retry(
    ctx: click.Context,
    reference: str,
    states: tuple[str, ...],
    reasons: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Try recipients of a campaign again who were not reached: by default those who failed.

    Each gets a new attempt, within the windows and rates of the campaign. Recipients who are in
    doubt, or were in doubt and may have got a message, are not tried again.

    \b
    Example:
      dispatcher campaign retry 1
      dispatcher campaign retry 1 --state undelivered --state expired
    """
    from dispatcher.campaigns import resolution
    from dispatcher.campaigns.control import check_not_purged
    from dispatcher.campaigns.failures import group_failures
    from dispatcher.campaigns.view import find_campaign, load_view
    from dispatcher.cli.context import refuse_empty_options
    from dispatcher.status import MessageState
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    chosen = {MessageState[state.upper()] for state in states} or {MessageState.FAILED}
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        check_not_purged(campaign)
        resolution.check_may_submit(conn, campaign)
    groups = group_failures(
        store, [campaign], reasons_of_providers(settings), states=chosen, reasons=reasons
    )
    if not any(group.retryable for group in groups):
        counts = load_view(store, str(campaign.id)).counts
        others = {name: counts[name] for name in _STATES if counts[name]}
        raise resolution.nothing_to_retry(campaign.id, chosen, reasons, others)
    require_yes(_retry_question(campaign, groups), yes, otherwise="nothing was changed")
    done = resolution.retry_messages(store, str(campaign.id), states=chosen, reasons=reasons)
    print_outcome(store, done, "will be tried again", as_json=as_json)


def _retry_question(campaign: "CampaignRow", groups: "Sequence[FailureGroup]") -> str:
    from dispatcher.campaigns.failures import count_by_state
    from dispatcher.status import MessageState

    counts = list(count_by_state(groups))
    who = " and ".join(f"{count} {state.label}" for state, count in counts)
    parts = sum(group.parts for group in groups)
    left_out = sum(group.recipients - group.retryable for group in groups)
    recipients = "recipients" if sum(count for _state, count in counts) > 1 else "recipient"
    again = f"Try {who} {recipients} of campaign {campaign.id} again"
    words = [f"{again}, in {pluralize(parts, 'part')}?"]
    if any(state is MessageState.EXPIRED for state, _count in counts):
        words.append("A few of the expired may still get the first message.")
    if left_out:
        words.append(f"{left_out} who were in doubt before are left out.")
    return " ".join(words)


def _print_group(settings: "Settings", campaign: "CampaignRow", group: "FailureGroup") -> None:
    from dispatcher.numbers.msisdn import mask_number

    place = safe_text(f"{group.account}{_provider_words(settings, group.account)}")
    click.echo()
    print_line(f"{group.recipients:>9,}  {group.state.label}: {safe_text(group.reason)}", _INDENT)
    lines = [
        ("means", group.explanation.meaning),
        ("do", group.explanation.advice),
        ("who", f"for example {mask_number(str(group.example))}; account {place}"),
    ]
    if left := group.recipients - group.retryable:
        lines.append(("never", f"{left:,} of them were in doubt before: they are not tried again"))
    for label, words in lines:
        print_line(f"    {label:<7}  {safe_text(words)}", _INDENT)
    if group.retryable:
        label = "again" if group.explanation.may_help else "anyway"
        click.echo(f"    {label:<7}  {_retry_command(campaign, group)}")


def _retry_command(campaign: "CampaignRow", group: "FailureGroup") -> str:
    from dispatcher.policy.failure_reasons import NO_REASON

    reason = safe_text(group.reason)
    chosen = f" --reason {shlex.quote(reason)}" if reason != NO_REASON else ""
    return f"dispatcher campaign retry {campaign.id} --state {group.state.label}{chosen}"


def _group_json(
    settings: "Settings", campaign: "CampaignRow", group: "FailureGroup"
) -> dict[str, object]:
    from dispatcher.numbers.msisdn import mask_number

    known = settings.accounts.get(group.account)
    return {
        "state": group.state.label,
        "reason": group.reason,
        "account": group.account,
        "provider": None if known is None else known.provider,
        "recipients": group.recipients,
        "retryable": group.retryable,
        "parts": group.parts,
        "example": mask_number(str(group.example)),
        "meaning": group.explanation.meaning,
        "advice": group.explanation.advice,
        "retry_may_help": group.explanation.may_help,
        "command": _retry_command(campaign, group) if group.retryable else None,
    }


def _provider_words(settings: "Settings", account: str) -> str:
    known = settings.accounts.get(account)
    return f" ({known.provider})" if known is not None else ""


def reasons_of_providers(settings: "Settings") -> "ReasonsOf":
    """What the words of each configured account's provider mean."""
    from dispatcher.providers import provider_class

    def reasons_of(account: str) -> "Mapping[str, Explanation]":
        known = settings.accounts.get(account)
        return {} if known is None else provider_class(known.provider).reasons

    return reasons_of
