"""`dispatcher notify`: try the ways to notify somebody, and list what went out."""

import re
from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.lazy import ConfiguredGroup
from dispatcher.cli.output import print_json, print_table
from dispatcher.cli.zones import local_times
from dispatcher.errors import DispatcherError, WrongOptions

if TYPE_CHECKING:
    from dispatcher.config.notify_settings import NotifySettings
    from dispatcher.store.rows import NoticeRow

#: It makes a subject the only one of its kind; the table has the time of the notice.
_TIME_OF_EVENT = re.compile(r" \d{4}-\d\d-\d\dT\S+$")
_NOTICE_COLUMNS = (
    "id",
    "event",
    "subject",
    "channel",
    "at",
    "sent_at",
    "tries",
    "next_at",
    "error",
)


@click.group("notify", cls=ConfiguredGroup)
def notify_group() -> None:
    """Try the notices of [notify], and list what went out.

    \b
    Example:
      dispatcher notify test
    """


@notify_group.command("test", short_help="Send a trial event by each configured way, now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def notify_test(ctx: click.Context, as_json: bool) -> None:
    """Call the configured command and webhook with an event `test`, and wait for the result.

    Exits with 1 if one of them fails.

    \b
    Example:
      dispatcher notify test
    """
    from contextlib import closing

    from dispatcher.notify.outbox import send_trial
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    wanted = _require_channels(settings.notify)
    with closing(Store(settings.store.url)) as store:
        failures = {way: send_trial(store, wanted, way) for way in wanted.channels}
    if as_json:
        print_json([{"channel": way, "error": why} for way, why in failures.items()])
    else:
        for way, why in failures.items():
            click.echo(f"{way}: {'the event was taken' if why is None else 'failed'}")
    failed = {way: why for way, why in failures.items() if why is not None}
    if failed:
        words = "; ".join(f"{way}: {why}" for way, why in failed.items())
        raise DispatcherError(words, "correct [notify], then run `dispatcher notify test` again")


@notify_group.command("list", short_help="List the newest events, and whether they went out.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many."
)
@data_options
@click.pass_context
def notify_list(ctx: click.Context, limit: int) -> None:
    """List the newest events, by which way somebody was notified, and what failed.

    \b
    Example:
      dispatcher notify list --limit 5
    """
    from contextlib import closing

    from dispatcher.store.engine import Store
    from dispatcher.store.notices import list_newest_notices

    with closing(Store(settings_from(ctx).store.url)) as store, store.read() as conn:
        rows = list_newest_notices(conn, limit)
    if is_data_asked(ctx):
        data = [_notice_json(row) for row in rows]
        print_data(ctx, data, _NOTICE_COLUMNS, data)
        return
    if not rows:
        click.echo("nobody was notified of anything yet; `dispatcher notify test` tries [notify]")
        return
    print_table(
        ("at", "event", "about", "by", "sent", "tries"),
        [
            (
                local_times(f"{row.at:%Y-%m-%d %H:%M:%S} UTC"),
                row.kind,
                _TIME_OF_EVENT.sub("", row.subject),
                row.channel,
                _end(row),
                row.tries,
            )
            for row in rows
        ],
        spare=("about",),
    )


def _end(row: "NoticeRow") -> str:
    if row.sent_at is not None:
        return "yes"
    if row.next_at is not None:
        return "not yet" if row.error is None else f"not yet: {row.error}"
    return f"no: {row.error}"


def _notice_json(row: "NoticeRow") -> dict[str, object]:
    return {
        "id": row.event_id,
        "event": row.kind,
        "subject": row.subject,
        "channel": row.channel,
        "at": row.at,
        "sent_at": row.sent_at,
        "tries": row.tries,
        "next_at": row.next_at,
        "error": row.error,
    }


def _require_channels(wanted: "NotifySettings") -> "NotifySettings":
    if not wanted.channels:
        raise WrongOptions(
            "nobody is notified: [notify] has neither a command nor a url",
            'write command = ["PROGRAM"], or url and secret, under [notify]',
        )
    return wanted
