"""`dispatcher campaign find`: everything that was ever sent to a number."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.columns import MESSAGE_COLUMNS
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.numbers import read_number
from dispatcher.cli.output import pluralize, print_line, safe_text
from dispatcher.cli.private_files import open_private
from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from dispatcher.config.settings import Settings
    from dispatcher.reports.history import (
        AttemptRecord,
        MessageRecord,
        NumberHistory,
        RecordedDecision,
    )
    from dispatcher.store.replies import ReplyRow

    ShowTime = Callable[[datetime], str]

_INDENT = " " * 12
#: The newest ones.
_MOST_REPLIES = 100


@click.command("find")
@click.argument("number", metavar="NUMBER")
@click.option("--country", metavar="CC",
              help="Country of a number without code. [default: the accounts']")  # fmt: skip
@click.option("--timezone", metavar="ZONE",
              help="Show times in this zone. [default: the accounts' zone]")  # fmt: skip
@click.option("--html", "html_file", metavar="FILE",
              type=click.Path(dir_okay=False, path_type=Path),
              help="Write a page with all of it, as evidence.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file of --html.")
@data_options
@click.pass_context
def campaign_find(
    ctx: click.Context,
    number: str,
    country: str | None,
    timezone: str | None,
    html_file: Path | None,
    force: bool,
) -> None:
    """Show everything that was ever sent to a number, in any campaign, however it is written.

    With text as it was sent, sender, provider ids, times, receipts, decisions, and its replies; and
    the rows of files with the number that got no message, with the reason.

    \b
    Example:
      dispatcher campaign find "+91 98200 11223"
      dispatcher campaign find 9820011223 --country IN --html proof.html
    """
    from dispatcher.cli.zones import shown_zone, time_shower
    from dispatcher.windows.zone_names import zone_name

    refuse_empty_options(ctx)
    is_data = is_data_asked(ctx)
    settings = settings_from(ctx)
    history = _load(settings, number, country)
    replies = _load_replies(settings, history.msisdn)
    accounts = {record.account for record in history.messages} or settings.accounts
    zone = shown_zone(settings, accounts, timezone)
    if html_file is not None:
        from dispatcher.reports.evidence import evidence_page

        with open_private(html_file, replace=force) as out:
            out.write(evidence_page(history, time_shower(zone), zone_name(zone)))
    if is_data:
        messages = [asdict(record) for record in history.messages]
        print_data(
            ctx,
            _history_json(history) | {"replies": [*map(_reply_json, replies)]},
            MESSAGE_COLUMNS,
            map(_with_iso_times, messages),
        )
    else:
        _print_history(history, zone)
        for reply in replies:
            stop = " (on the suppression list since then)" if reply.is_stop else ""
            click.echo()
            print_line(f"reply of {time_shower(zone)(reply.at)} to {reply.account}{stop}", "")
            print_line(f"{'text':<10}  {safe_text(reply.text)}", _INDENT)
        if html_file is not None:
            click.echo(f"\nwritten to {html_file}: it has the full number and the texts")


def _load(settings: "Settings", number: str, country: str | None) -> "NumberHistory":
    """The history of a number; of one that cannot get messages, the rows that were rejected."""
    from dispatcher.reports.history import load_history, load_rejected
    from dispatcher.store.engine import Store

    store = Store(settings.store.url)
    try:
        msisdn = read_number(settings, number, country)
    except WrongValue:
        history = load_rejected(store, number)
        if not history.rejected:
            raise
        return history
    return load_history(store, msisdn)


def _load_replies(settings: "Settings", msisdn: int | None) -> "list[ReplyRow]":
    """The newest replies of a number, the oldest of them first."""
    from dispatcher.store.engine import Store
    from dispatcher.store.replies import list_replies

    if msisdn is None:
        return []
    with Store(settings.store.url).read() as conn:
        return list_replies(conn, limit=_MOST_REPLIES, msisdns=[msisdn])[::-1]


def _reply_json(reply: "ReplyRow") -> dict[str, object]:
    return {
        "at": _iso(reply.at), "account": reply.account, "text": reply.text, "stop": reply.is_stop,
    }  # fmt: skip


def _print_history(history: "NumberHistory", zone: "tzinfo") -> None:
    from dispatcher.cli.zones import time_shower
    from dispatcher.windows.zone_names import zone_name

    show_time = time_shower(zone)
    number = safe_text(history.number)
    if history.messages:
        click.echo(
            f"{number}: {pluralize(len(history.messages), 'message')}, oldest first; "
            f"times in {zone_name(zone)}"
        )
    else:
        kept = " in campaigns that were not purged" if history.purged_campaigns else ""
        click.echo(f"nothing was ever sent to {number}{kept}, and nothing waits for it")
    if history.is_cut:
        click.echo("older messages are left out")
    for record in history.messages:
        click.echo()
        _print_record(record, show_time)
    _print_withheld(history, show_time, zone_name(zone))
    _print_purged(history)


def _print_withheld(history: "NumberHistory", show_time: "ShowTime", zone: str) -> None:
    """Rows of files that got no message, and since when the number must not be texted."""
    if history.rejected or history.suppressions:
        click.echo()
    for row in history.rejected:
        print_line(
            safe_text(
                f"no message, campaign {row.campaign_id}: {row.campaign}, row {row.row}, submitted "
                f"{show_time(row.created_at)} {zone}: {row.kind}: {row.reason}"
            ),
            _INDENT,
        )
    for entry in history.suppressions:
        whom = f"account {entry.account}" if entry.account else "all accounts"
        why = f": {entry.reason}" if entry.reason else ""
        print_line(
            safe_text(
                f"on the suppression list of {whom} since {show_time(entry.at)} {zone}{why} "
                f"(from {entry.source}, by {entry.actor})"
            ),
            _INDENT,
        )


def _print_purged(history: "NumberHistory") -> None:
    if history.purged_campaigns:
        count = pluralize(history.purged_campaigns, "campaign was", "campaigns were")
        click.echo(f"{count} purged: whom they reached is not known any more")


def _print_record(record: "MessageRecord", show_time: "ShowTime") -> None:
    where = "single message" if record.is_single else f"campaign {record.campaign_id}"
    lines = [("", f"{record.state.replace('_', ' ')}, {where}: {record.campaign}")]
    if record.text is not None:
        lines.append(("text", record.text))
    else:
        values = ", ".join(record.template_values) or "none"
        lines.append(("text", f"the provider's template {record.template}; values: {values}"))
    lines.append(("sender", f"{record.sender}, account {record.account}, {record.kind}"))
    times = [("submitted", record.submitted_at), ("final", record.final_at)]
    lines += [(label, show_time(at)) for label, at in times if at is not None]
    said = ": ".join(filter(None, (record.error_code, record.error)))
    ids = [record.provider_message_id, *record.other_ids]
    if record.job_id is not None:
        ids.append(f"job {record.job_id}")
    details = [
        ("reason", said),
        ("ids", ", ".join(filter(None, ids))),
        ("parts", str(record.parts)),
        ("cost", record.cost or ""),
        ("note", "; ".join(record.notes)),
    ]
    lines += [(label, words) for label, words in details if words]
    is_again = bool(record.attempts) and record.state == "pending"
    if record.attempt_count > 1 or is_again:
        lines.append(("attempts", str(record.attempt_count)))
        lines += [(f"  {one.number}", _attempt_words(one, show_time)) for one in record.attempts]
    for one in record.decisions:
        # What was decided about the whole campaign was not decided about this recipient.
        label = "campaign" if one.about == "campaign" else "decided"
        lines.append((label, f"{show_time(one.at)} {one.actor}: {_decision_words(one)}"))
    for label, words in lines:
        text = safe_text(words)
        print_line(f"{label:<10}  {text}" if label else text, _INDENT if label else "")


def _decision_words(one: "RecordedDecision") -> str:
    return f"{one.action} ({one.detail})" if one.detail else one.action


def _attempt_words(one: "AttemptRecord", show_time: "ShowTime") -> str:
    became = f", {one.state}" if one.state is not None else ""
    final = f" {show_time(one.final_at)}" if one.final_at is not None and became else ""
    ids = f", id {one.provider_message_id}" if one.provider_message_id is not None else ""
    said = ": ".join(filter(None, (one.error_code, one.error)))
    return (
        f"{show_time(one.begun_at)} {one.account}: {one.outcome.replace('_', ' ')}{became}{final}"
        f"{ids}{f' ({said})' if said else ''}"
    )


def _history_json(history: "NumberHistory") -> dict[str, object]:
    return {
        "msisdn": history.msisdn,
        "looked_at": _iso(history.looked_at),
        "is_cut": history.is_cut,
        "purged_campaigns": history.purged_campaigns,
        "messages": [_with_iso(asdict(record)) for record in history.messages],
        "rejected": [_with_iso(asdict(row)) for row in history.rejected],
        "suppressions": [
            _with_iso({**entry._asdict(), "account": entry.account or None})
            for entry in history.suppressions
        ],
    }


def _with_iso_times(row: dict[str, object]) -> dict[str, object]:
    return {name: _with_iso(value) for name, value in row.items()}


def _with_iso(value: object) -> object:
    """`value` with its times as JSON has them everywhere."""
    if isinstance(value, dict):
        return _with_iso_times(value)
    if isinstance(value, list | tuple):
        return [_with_iso(item) for item in value]
    return _iso(value) if isinstance(value, datetime) else value


def _iso(at: datetime) -> str | None:
    from dispatcher.campaigns.wording import iso_time

    return iso_time(at)
