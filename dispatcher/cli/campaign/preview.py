"""The preview of a submission: rows without a message, texts, parts, and when all will be sent.

The most important lines come last, so that a small terminal shows them beside the question.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.campaign.file_report import country_line, file_json, file_lines, file_notes
from dispatcher.cli.campaign.format_report import format_label
from dispatcher.cli.output import name_sender, pluralize, print_line, safe_text
from dispatcher.cli.zones import local_times
from dispatcher.errors import StoreError

if TYPE_CHECKING:
    from dispatcher.forecast.simulation import Forecast
    from dispatcher.recipients.preview import Preview
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import ValidatedSubmission

_SHOWN_REASONS = 8
_SHOWN_ZONES = 6
_LONGEST_CELL = 40


def print_preview(store: "Store", submission: "ValidatedSubmission", preview: "Preview") -> None:
    """Print the whole preview."""
    from dispatcher.submission.cost_estimate import estimate_cost

    print_rows(submission, preview)
    _print_texts(preview)
    print_summary(submission, preview)
    if (cost := estimate_cost(store, submission.request.account, preview)) is not None:
        print_line(cost.in_words, "    ")
    if preview.valid:
        _print_forecast(store, submission, preview)


def print_rows(submission: "ValidatedSubmission", preview: "Preview") -> None:
    """Print how the file was read, and its rows that get no message."""
    file, name = submission.file, safe_text(submission.request.source_name)
    click.echo(
        f"{name}: {pluralize(preview.rows, 'row')}, phone column "
        f"{safe_text(file.phone_column)!r} ({format_label(file)})"
    )
    for line in file_lines(file):
        print_line(f"  {line}", "    ")
    _print_rejects(preview)


def print_summary(submission: "ValidatedSubmission", preview: "Preview") -> None:
    """Print warnings, counts, countries, parts, and what was asked for."""
    _print_warnings(submission, preview)
    rest = [
        f"{getattr(preview, name)} {name}"
        for name in ("invalid", "duplicate", "suppressed")
        if getattr(preview, name)
    ]
    click.echo(", ".join([f"{preview.valid} to send", *rest]))
    if (countries := country_line(preview)) is not None:
        print_line(countries, "    ")
    _print_parts(submission, preview)


def preview_json(
    store: "Store", submission: "ValidatedSubmission", preview: "Preview"
) -> dict[str, Any]:
    """The JSON of a dry run. There is no campaign, so `id` is null."""
    from dispatcher.campaigns.wording import iso_time
    from dispatcher.forecast.service import forecast_to_json
    from dispatcher.submission.cost_estimate import estimate_cost
    from dispatcher.windows.zone_names import zone_name

    cost = estimate_cost(store, submission.request.account, preview)
    found, error = _forecast_or_alone(store, submission, preview)
    names = ("rows", "invalid", "duplicate", "suppressed", "parts")
    counts = {"total": preview.valid, **{name: getattr(preview, name) for name in names}}
    return {
        "id": None,
        "dry_run": True,
        "counts": counts,
        "cost_estimate": None if cost is None else str(cost.total),
        "reasons": dict(preview.reasons),
        **file_json(submission, preview),
        "start_at": iso_time(submission.request.timing.start_at),
        "expire_at": iso_time(submission.request.timing.expire_at),
        "timezone": zone_name(submission.request.timing.zone),
        "time_notes": list(submission.request.timing.notes),
        "zones": dict(preview.zones),
        "zone_sources": dict(preview.zone_sources),
        "forecast": {**forecast_to_json(found), "alone": error is not None},
    }


def _forecast_or_alone(
    store: "Store", submission: "ValidatedSubmission", preview: "Preview"
) -> "tuple[Forecast, StoreError | None]":
    """The forecast; if the store cannot be read, as if nothing else were sent, and the error.

    A dry run needs no store.
    """
    from dispatcher.forecast import service

    try:
        return service.forecast_submission(store, submission, preview), None
    except StoreError as error:
        return service.forecast_submission_alone(submission, preview, datetime.now(UTC)), error


def _print_forecast(store: "Store", submission: "ValidatedSubmission", preview: "Preview") -> None:
    from zoneinfo import ZoneInfo

    from dispatcher.forecast import service

    found, error = _forecast_or_alone(store, submission, preview)
    zone = ZoneInfo(submission.provider.settings.timezone)
    alone = "" if error is None else f" (if nothing else is sent: {error.message})"
    words = local_times(service.describe_forecast(found, zone), [submission.request.account])
    print_line(f"forecast: {words}{alone}", "    ")


def _print_parts(submission: "ValidatedSubmission", preview: "Preview") -> None:
    shapes = ", ".join(
        f"{count} × {pluralize(parts, 'part')} {encoding.label}"
        for (encoding, parts), count in sorted(preview.shapes.items())
    )
    if shapes:
        print_line(f"{pluralize(preview.parts, 'part')} (credits): {shapes}", "    ")
    print_line(
        f"account {submission.request.account}, {name_sender(submission.route.sender)}, "
        + (
            f"template {safe_text(submission.route.template)}, "
            if submission.route.template
            else ""
        )
        + submission.request.kind,
        "    ",
    )
    if (allow_only := submission.provider.settings.allow_only) is not None:
        numbers = pluralize(len(allow_only), "number")
        account = submission.request.account
        print_line(f"account {account} texts only the {numbers} of its `allow_only`", "    ")
    for leg in submission.fallbacks:
        template = f", template {safe_text(leg.route.template)}" if leg.route.template else ""
        sender = name_sender(leg.route.sender)
        print_line(f"fallback {leg.account}, {sender}{template}", "    ")
    print_requested_terms(submission)
    if preview.zones:
        _print_zones(submission, preview)


def print_requested_terms(submission: "ValidatedSubmission") -> None:
    """Print when and how fast it will be sent, and the other limits asked for."""
    from dispatcher.campaigns.wording import terms_in_words

    request, settings = submission.request, submission.provider.settings
    by_zone = request.timing.in_recipients_zone
    windows, rate, *rest = terms_in_words(settings, request.constraints, by_zone=by_zone)
    for label, words in (windows, rate):
        print_line(f"{label}: {words}", "    ")
    if rest:
        print_line(", ".join(f"{label} {words}" for label, words in rest), "    ")


def _print_zones(submission: "ValidatedSubmission", preview: "Preview") -> None:
    from dispatcher.windows.recipient_zones import ZoneSource

    words = {
        ZoneSource.COLUMN: f"by column {safe_text(submission.zone_column)!r}",
        ZoneSource.NUMBER: "by their number",
        ZoneSource.SEVERAL: "in one of several zones, by their number",
        ZoneSource.CAMPAIGN: "unknown: the campaign's zone is used",
    }
    sources = ", ".join(
        f"{preview.zone_sources[source]} {words[source]}"
        for source in ZoneSource
        if preview.zone_sources[source]
    )
    several = sum(count for key, count in preview.zones.items() if "," in key)
    single = Counter({key: count for key, count in preview.zones.items() if "," not in key})
    named = [f"{zone} {count}" for zone, count in single.most_common(_SHOWN_ZONES)]
    if (others := single.total() - sum(n for _, n in single.most_common(_SHOWN_ZONES))) > 0:
        named.append(f"other zones {others}")
    if several:
        named.append(f"several at once {several}")
    print_line(f"recipients' time zones: {sources}", "    ")
    print_line(f"  {', '.join(named)}", "    ")


def _print_warnings(submission: "ValidatedSubmission", preview: "Preview") -> None:
    for warning in _list_warnings(submission, preview):
        print_line(f"note: {warning}", "  ", style={"fg": "yellow"})


def _list_warnings(submission: "ValidatedSubmission", preview: "Preview") -> list[str]:
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.wording import past_dates

    timing, settings = submission.request.timing, submission.provider.settings
    found = [*file_notes(submission, preview), *timing.notes]
    has_times = timing.start_at or timing.expire_at or timing.schedule or settings.windows
    if has_times and timing.zone == ZoneInfo("UTC") and not settings.knows_timezone:
        found.append(
            "times and windows are in UTC, because the account has no `timezone`, and no `country` "
            "with just one: set `timezone`"
        )
    past = past_dates(submission.request.constraints, datetime.now(UTC))
    if past:
        found.append(f"already in the past: {', '.join(past)}")
    if (burst := _burst_warning(submission, preview)) is not None:
        found.append(burst)
    home = submission.provider.capabilities.home_calling_codes
    foreign = sum(n for code, n in preview.calling_codes.items() if code not in home)
    if home and foreign:
        numbers = pluralize(foreign, "number is", "numbers are")
        found.append(f"{numbers} foreign: the provider's prices are for local numbers only")
    return found


def _burst_warning(submission: "ValidatedSubmission", preview: "Preview") -> str | None:
    """The note that requests are large for the rate: each is sent at once, then all wait."""
    from dispatcher.campaigns.wording import burst_in_words

    if submission.takes_requests:
        return None
    size = min(preview.valid, submission.batch_size.recipients)
    return burst_in_words(submission.provider.settings, submission.request.timing.rate, size)


def _print_rejects(preview: "Preview") -> None:
    if not preview.rejects:
        return
    every = preview.rows - preview.valid
    shown = (
        "" if every <= len(preview.rejects) else f", the first {len(preview.rejects)} of {every}"
    )
    click.echo(f"rows that get no message{shown}:")
    for reject in preview.rejects:
        cell = f": {safe_text(reject.phone[:_LONGEST_CELL])!r}" if reject.phone.strip() else ""
        line = f"  row {reject.row}: {reject.kind.label}: {safe_text(reject.reason)}{cell}"
        print_line(line, "    ")
    if preview.reasons:
        click.echo("why rows are invalid:")
    for reason, count in preview.reasons.most_common(_SHOWN_REASONS):
        print_line(f"  {count} × {safe_text(reason)}", "    ")


def _print_texts(preview: "Preview") -> None:
    from dispatcher.numbers.masking import mask_number

    if preview.texts:
        chosen = f"{len(preview.sample)} random " if preview.sample else ""
        click.echo(f"{chosen}texts as they will arrive:")
    for item in preview.shown_texts:
        size = f"{item.encoding.label}, {pluralize(item.parts, 'part')}"
        where = f"  row {item.row} to {mask_number(item.msisdn)} ({size}): "
        print_line(f"{where}{safe_text(item.text)}", "    ")
