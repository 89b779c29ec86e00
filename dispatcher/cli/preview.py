"""What a submission shows before it asks: counts, reasons, parts, three texts as they arrive."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.output import safe_text
from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.intake import Preview
    from dispatcher.order import Ready
    from dispatcher.store.engine import Store

_SHOWN_REASONS = 8
_ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "cp1252": "Windows-1252",
}


def print_preview(store: "Store", ready: "Ready", preview: "Preview") -> None:
    """The whole preview, on standard output."""
    click.echo(
        f"{safe_text(ready.order.source_name)}: {preview.rows} rows, phone column "
        f"{safe_text(ready.file.phone_column)!r} ({_ENCODINGS[ready.file.encoding]})"
    )
    rest = [
        f"{getattr(preview, name)} {name}"
        for name in ("invalid", "duplicate", "suppressed")
        if getattr(preview, name)
    ]
    click.echo(", ".join([f"  {preview.valid} to send", *rest]))
    _print_parts(ready, preview)
    _print_rejects(preview)
    _print_texts(preview)
    if preview.valid:
        _print_outlook(store, ready, preview)


def _print_outlook(store: "Store", ready: "Ready", preview: "Preview") -> None:
    from zoneinfo import ZoneInfo

    from dispatcher import outlook
    from dispatcher.errors import StoreError

    try:
        found = outlook.of_order(store, ready.order, ready.provider, preview)
    except StoreError:  # a dry run needs no store
        return
    zone = ZoneInfo(ready.provider.settings.timezone)
    click.echo(f"forecast: {outlook.in_words(found, zone)}")


def _print_parts(ready: "Ready", preview: "Preview") -> None:
    shapes = ", ".join(
        f"{count} × {parts} part{'s' if parts > 1 else ''} {encoding.label}"
        for (encoding, parts), count in sorted(preview.shapes.items())
    )
    if shapes:
        click.echo(f"  {preview.parts} parts (credits): {shapes}")
    click.echo(
        f"  account {ready.order.account}, sender {safe_text(ready.route.sender)}, "
        + (f"template {safe_text(ready.route.template)}, " if ready.route.template else "")
        + ready.order.kind
    )
    for leg in ready.fallbacks:
        template = f", template {safe_text(leg.route.template)}" if leg.route.template else ""
        click.echo(f"  fallback {leg.account}, sender {safe_text(leg.route.sender)}{template}")
    if preview.zones:
        sources = ", ".join(f"{n} by {source.value}" for source, n in preview.zone_sources.items())
        click.echo(f"  {len(preview.zones)} time zones: {sources}")
    for warning in _warnings(ready, preview):
        click.secho(f"  note: {warning}", fg="yellow")


def _warnings(ready: "Ready", preview: "Preview") -> list[str]:
    from dispatcher.content import differs_from
    from dispatcher.segments import measure, normalize, odd_characters
    from dispatcher.status import Encoding

    found = []
    text = ready.written.text
    odd = odd_characters(text)
    if odd and measure(normalize(text)).encoding is Encoding.GSM7:
        found.append(
            f"the text needs UCS-2 only because of {' '.join(safe_text(c) for c in odd)}: "
            "--normalize replaces what has a plain equivalent"
        )
    registered = ready.route.template_text
    if registered and preview.texts and differs_from(registered, preview.texts[0].text):
        found.append(
            f"the text differs from the template {ready.route.template!r}, which says: {registered}"
        )
    home = ready.provider.capabilities.home_calling_codes
    foreign = sum(n for code, n in preview.calling_codes.items() if code not in home)
    if home and foreign:
        found.append(f"{foreign} numbers are foreign: the provider's prices are for local numbers")
    return found


def _print_rejects(preview: "Preview") -> None:
    for reason, count in preview.reasons.most_common(_SHOWN_REASONS):
        click.echo(f"  {count:>7} × {safe_text(reason)}")
    if not preview.rejects:
        return
    every = preview.rows - preview.valid
    shown = (
        "" if every <= len(preview.rejects) else f", the first {len(preview.rejects)} of {every}"
    )
    click.echo(f"rows that get no message{shown}:")
    for reject in preview.rejects:
        click.echo(f"  row {reject.row}: {reject.kind.label}: {safe_text(reject.reason)}")


def _print_texts(preview: "Preview") -> None:
    from dispatcher.msisdn import mask

    if preview.texts:
        click.echo("texts as they will arrive:")
    for item in preview.texts:
        size = f"{item.encoding.label}, {item.parts} part{'s' if item.parts > 1 else ''}"
        click.echo(f"  row {item.row} to {mask(item.msisdn)} ({size}): {safe_text(item.text)}")


def write_rejects(store: "Store", campaign_id: int, path: Path) -> None:
    """Write the rows that get no message. Raises UsageProblem where the file cannot be written."""
    from dispatcher.export import write_csv
    from dispatcher.store import campaigns

    with store.read() as conn:
        campaign = campaigns.get(conn, campaign_id)
    assert campaign is not None
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            count = write_csv(store, campaign, out, rejects_only=True)
    except OSError as error:
        raise UsageProblem(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"{count} rows that get no message: {path}", err=True)
