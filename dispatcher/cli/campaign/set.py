"""`dispatcher campaign set`: how fast, when and in what order, changed while it runs."""

from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher.cli.campaign.forecast_view import campaign_terms, print_forecast, print_terms
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.output import print_json
from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from datetime import tzinfo

    from dispatcher.config.settings import Settings
    from dispatcher.store.table_values import AnyRow

#: What a person calls the columns that it changes.
_TERMS: Final = {
    "rate": "rate",
    "priority": "priority",
    "start_at": "start",
    "expire_at": "expiry",
    "schedule": "windows",
}


@click.command("set")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--rate", metavar="100/s", help="Messages per second, /min or /h; `none` for none.")
@click.option(
    "--window", "windows", multiple=True, help="In place of its windows; `none` for none."
)
@click.option(
    "--blackout", "blackouts", multiple=True, help="In place of its blackouts; `none` for none."
)
@click.option("--timezone", "zone", help="The zone of its windows, and of the times given.")
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first.")
@click.option("--start-at", metavar="TIME", help="`none` for at once.")
@click.option("--expire-at", metavar="TIME", help="`none` for never.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_set(ctx: click.Context, /, reference: str, as_json: bool, **given: Any) -> None:
    """Change a campaign's rate, windows, priority or times; it counts from the next request on.

    \b
    Example:
      dispatcher campaign set 1 --rate 50/s --window "mon-fri 09:00-17:00" --priority 10
    """
    from datetime import UTC, datetime

    from dispatcher.campaigns import control
    from dispatcher.campaigns.view import details_json, find_campaign, load_view
    from dispatcher.campaigns.wording import past_dates
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
    values = _new_values(settings, campaign, given)
    if not values:
        raise UsageProblem("nothing to set", "give --rate, --window, --priority, …")
    timeout_s = settings.account(campaign.account).timeout_s
    changed = control.set_terms(store, str(campaign.id), values, timeout_s)
    shown = load_view(store, str(changed.id))
    if as_json:
        print_json(details_json(shown))
        return
    names = ", ".join(_TERMS[name] for name in values)
    click.echo(f"campaign {changed.id}: {names} changed")
    print_terms(campaign_terms(ctx, changed))
    print_forecast(ctx, store, shown)
    for past in past_dates(changed, datetime.now(UTC)) if "schedule" in values else ():
        click.secho(f"note: in the past already: {past}", fg="yellow")


def _new_values(settings: "Settings", campaign: "AnyRow", given: dict[str, Any]) -> dict[str, Any]:
    from dispatcher.cli.parsing import parse_rate, parse_time

    if campaign.zones is not None and given["zone"] == "recipient":  # so it is already
        given = {**given, "zone": None}
    zone = _zone(settings, campaign, given)
    values: dict[str, Any] = {}
    if given["rate"] is not None:
        values["rate"] = None if given["rate"] == "none" else parse_rate(given["rate"])
    if given["priority"] is not None:
        values["priority"] = given["priority"]
    for name in ("start_at", "expire_at"):
        if given[name] is not None:
            option = f"--{name.replace('_', '-')}"
            values[name] = None if given[name] == "none" else parse_time(option, given[name], zone)
    old = _stored_windows(campaign)
    if given["windows"] or given["blackouts"] or (given["zone"] and old):
        values["schedule"] = _new_schedule(old, given, default=zone)
    elif given["zone"] and not values:
        raise UsageProblem(
            f"campaign {campaign.id} has no windows that could be in another zone", "give --window"
        )
    _check_can_send(settings, campaign, values)
    return values


def _zone(settings: "Settings", campaign: "AnyRow", given: dict[str, Any]) -> "tzinfo":
    """The zone of the times given: the account's, unless another is named."""
    from zoneinfo import ZoneInfo

    from dispatcher.cli.parsing import parse_named_zone

    if given["zone"] is None:
        return ZoneInfo(settings.account(campaign.account).timezone)
    if campaign.zones is not None:
        raise UsageProblem(
            f"the windows of campaign {campaign.id} are those of each recipient's zone",
            "leave --timezone out",
        )
    if given["zone"] == "recipient":
        raise UsageProblem(
            f"campaign {campaign.id} was not planned by its recipients' zones",
            "they are read by `campaign submit --timezone recipient` only",
        )
    return parse_named_zone(given["zone"])


def _stored_windows(campaign: "AnyRow") -> dict[str, Any]:
    """Its windows, blackouts and zone; empty, too, where the windows were of the whole day."""
    import orjson

    stored = orjson.loads(campaign.schedule) if campaign.schedule else []
    return stored[0] if stored else {}


def _new_schedule(old: dict[str, Any], given: dict[str, Any], *, default: "tzinfo") -> str | None:
    """The new schedule: what was given, beside what stays of the old one."""
    from dispatcher.campaigns.timing import Timing
    from dispatcher.cli.parsing import check_windows
    from dispatcher.windows.zone_names import parse_zone

    def chosen(name: str) -> tuple[str, ...]:
        if given[name] == ("none",):
            return ()
        return given[name] or tuple(old.get(name, ()))

    timing = Timing(
        windows=chosen("windows"),
        blackouts=chosen("blackouts"),
        zone=parse_zone(old["zone"]) if old and not given["zone"] else default,
    )
    check_windows(timing)
    return timing.schedule


def _check_can_send(settings: "Settings", campaign: "AnyRow", values: dict[str, Any]) -> None:
    """Raises Refused where with these times and windows nothing could ever leave."""
    from datetime import UTC, datetime

    import orjson

    from dispatcher.campaigns.gate import CampaignConstraints, check_windows_open
    from dispatcher.campaigns.timing import Timing, check_start
    from dispatcher.status import Kind

    if not values.keys() & {"start_at", "expire_at", "schedule"}:
        return
    new = {name: values.get(name, campaign._mapping[name]) for name in ("start_at", "expire_at")}
    schedule = values.get("schedule", campaign.schedule)
    now = datetime.now(UTC)
    check_start(values.get("start_at"), now)
    Timing(**new).check(now)
    zones = orjson.loads(campaign.zones) if campaign.zones else [None]
    at = campaign.schedule_at
    if at is not None and at <= now:
        at = None
    constraints = CampaignConstraints(
        kind=Kind(campaign.kind), schedule=schedule, schedule_at=at, **new
    )
    check_windows_open(settings.account(campaign.account), constraints, zones, now)
