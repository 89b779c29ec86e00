"""`dispatcher campaign set`: how fast, when and in what order, changed while it runs."""

from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.context import refuse_empty, settings_from
from dispatcher.cli.output import print_json
from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.store.sets import AnyRow


@click.command("set")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--rate", metavar="100/s", help="Messages per second, /min or /h; `none` for none.")
@click.option(
    "--window", "windows", multiple=True, help="In place of its windows; `none` for none."
)
@click.option(
    "--blackout", "blackouts", multiple=True, help="In place of its blackouts; `none` for none."
)
@click.option("--timezone", "zone", help="The zone of the windows given.")
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first.")
@click.option("--start-at", metavar="TIME", help="`none` for at once.")
@click.option("--expire-at", metavar="TIME", help="`none` for never.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def set_(ctx: click.Context, /, reference: str, as_json: bool, **given: Any) -> None:
    """Change a campaign's rate, windows, priority or times; it counts from the next request on.

    \b
    Example:
      dispatcher campaign set 1 --rate 50/s --window "mon-fri 09:00-17:00" --priority 10
    """
    from dispatcher import campaigns
    from dispatcher.store.engine import Store

    refuse_empty(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        campaign = campaigns.find(conn, reference)
    values = _values(settings, campaign, given)
    if not values:
        raise UsageProblem("nothing to set", "give --rate, --window, --priority, …")
    changed = campaigns.set_terms(store, str(campaign.id), values)
    if as_json:
        print_json(campaigns.details(campaigns.view(store, str(changed.id))))
    else:
        click.echo(f"campaign {changed.id}: {', '.join(sorted(values))} changed")


def _values(settings: "Settings", campaign: "AnyRow", given: dict[str, Any]) -> dict[str, Any]:
    from zoneinfo import ZoneInfo

    from dispatcher.cli.values import parse_rate, parse_time

    zone = ZoneInfo(settings.account(campaign.account).timezone)
    values: dict[str, Any] = {}
    if given["rate"] is not None:
        values["rate"] = None if given["rate"] == "none" else parse_rate(given["rate"])
    if given["priority"] is not None:
        values["priority"] = given["priority"]
    for name in ("start_at", "expire_at"):
        if given[name] is not None:
            values[name] = None if given[name] == "none" else parse_time(given[name], zone)
    if given["windows"] or given["blackouts"] or given["zone"]:
        values["schedule"] = _schedule(campaign, given, default=zone.key)
    _check(settings, campaign, values)
    return values


def _schedule(campaign: "AnyRow", given: dict[str, Any], *, default: str) -> str | None:
    """The new schedule: what was given, beside what stays of the old one."""
    import orjson

    from dispatcher.cli.values import check_windows, parse_named_zone
    from dispatcher.timing import Timing

    # Empty, too, where the windows were of the whole day.
    stored = orjson.loads(campaign.schedule) if campaign.schedule else []
    old = stored[0] if stored else {}

    def chosen(name: str) -> tuple[str, ...]:
        if given[name] == ("none",):
            return ()
        return given[name] or tuple(old.get(name, ()))

    timing = Timing(
        windows=chosen("windows"),
        blackouts=chosen("blackouts"),
        zone=parse_named_zone(given["zone"] or old.get("zone") or default),
    )
    check_windows(timing)
    return timing.schedule


def _check(settings: "Settings", campaign: "AnyRow", values: dict[str, Any]) -> None:
    """Raises Refused where with these times and windows nothing could ever leave."""
    from datetime import UTC, datetime

    import orjson

    from dispatcher.gates import Wanted, check_opens
    from dispatcher.status import Kind
    from dispatcher.timing import Timing, check_start

    if not values.keys() & {"start_at", "expire_at", "schedule"}:
        return
    new = {name: values.get(name, campaign._mapping[name]) for name in ("start_at", "expire_at")}
    schedule = values.get("schedule", campaign.schedule)
    now = datetime.now(UTC)
    check_start(values.get("start_at"), now)
    Timing(**new).check(now)
    zones = orjson.loads(campaign.zones) if campaign.zones else [None]
    wanted = Wanted(kind=Kind(campaign.kind), schedule=schedule, **new)
    check_opens(settings.account(campaign.account), wanted, zones, now)
