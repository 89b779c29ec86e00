"""`dispatcher campaign set`: change how fast, when and in what order a campaign is sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.campaign.forecast_view import campaign_terms, print_forecast, print_terms
from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.output import print_json
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from datetime import tzinfo

    from dispatcher.config.settings import Settings
    from dispatcher.providers.shared.settings import ProviderSettings
    from dispatcher.store.campaign_settings import ChangedSettings
    from dispatcher.store.rows import CampaignRow
    from dispatcher.windows.schedule import StoredHours

#: What the changed columns are called in messages.
_TERMS: Final = {
    "rate": "rate",
    "priority": "priority",
    "start_at": "start",
    "expire_at": "expiry",
    "schedule": "windows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    """What was given on the command line; the command's options have the same names."""

    reference: str
    rate: str | None
    windows: Sequence[str]
    blackouts: Sequence[str]
    zone: str | None
    priority: int | None
    start_at: str | None
    expire_at: str | None
    as_json: bool


@click.command("set")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--rate", metavar="100/s", help="Messages per second, /min or /h; `none`: no limit.")
@click.option(
    "--window", "windows", multiple=True, help="Replaces its windows; `none`: no windows."
)
@click.option(
    "--blackout", "blackouts", multiple=True, help="Replaces its blackouts; `none`: no blackouts."
)
@click.option("--timezone", "zone", help="The zone of its windows, and of the times given.")
@click.option(
    "--priority", type=click.IntRange(-100, 100), help="Campaigns with a higher one go first."
)
@click.option("--start-at", metavar="TIME", help="Send nothing before; `none`: start now.")
@click.option("--expire-at", metavar="TIME", help="Send nothing after; `none`: never expire.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(SetOptions)
def campaign_set(ctx: click.Context, options: SetOptions) -> None:
    """Change a campaign's rate, windows, priority or times. Takes effect from the next request.

    \b
    Example:
      dispatcher campaign set 1 --rate 50/s --window "mon-fri 09:00-17:00" --priority 10
    """
    from datetime import UTC, datetime

    from dispatcher.campaigns.control import check_changeable, set_terms
    from dispatcher.campaigns.view import details_json, find_campaign, load_view
    from dispatcher.campaigns.wording import past_dates
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        campaign = find_campaign(conn, options.reference)
    check_changeable(campaign)
    values = _new_values(settings, campaign, options)
    if not values:
        raise WrongOptions("nothing to set", "give --rate, --window, --priority, …")
    timeout_s = settings.account(campaign.account).timeout_s
    changed = set_terms(store, str(campaign.id), values, timeout_s)
    shown = load_view(store, str(changed.id))
    if options.as_json:
        print_json(details_json(shown))
        return
    names = ", ".join(_TERMS[name] for name in values)
    click.echo(f"campaign {changed.id}: {names} changed")
    print_terms(campaign_terms(ctx, changed))
    print_forecast(ctx, store, shown)
    for past in past_dates(changed, datetime.now(UTC)) if "schedule" in values else ():
        click.secho(f"note: already in the past: {past}", fg="yellow")
    account = settings_from(ctx).account(changed.account)
    if "rate" in values and (burst := _burst_warning_at_new_rate(account, changed)) is not None:
        click.secho(f"note: {burst}", fg="yellow")


def _burst_warning_at_new_rate(settings: "ProviderSettings", campaign: "CampaignRow") -> str | None:
    """The note that its requests are large for its new rate: each is sent at once."""
    from dispatcher.campaigns.rendering import needs_own_requests
    from dispatcher.campaigns.wording import burst_in_words
    from dispatcher.providers import provider_class

    provider = provider_class(settings.provider)(settings)
    if needs_own_requests(campaign, provider):
        return None
    size = provider.batch_size(needs_requests=False, rate=campaign.rate).recipients
    return burst_in_words(settings, campaign.rate, min(size, campaign.total))


def _new_values(
    settings: "Settings", campaign: "CampaignRow", options: SetOptions
) -> "ChangedSettings":
    """The columns to change, with their new values; empty if there is nothing to change."""
    from dispatcher.cli.parsing import parse_rate, parse_time

    if campaign.zones is not None and options.zone == "recipient":  # the campaign has it already
        options = replace(options, zone=None)
    zone = _find_zone(settings, campaign, options.zone)
    values: ChangedSettings = {}
    if options.rate is not None:
        values["rate"] = None if options.rate == "none" else parse_rate(options.rate)
    if options.priority is not None:
        values["priority"] = options.priority
    if (text := options.start_at) is not None:
        values["start_at"] = None if text == "none" else parse_time("--start-at", text, zone)
    if (text := options.expire_at) is not None:
        values["expire_at"] = None if text == "none" else parse_time("--expire-at", text, zone)
    old = _stored_windows(campaign)
    if options.windows or options.blackouts or (options.zone and old):
        values["schedule"] = _new_schedule(old, options, default=zone)
    elif options.zone and not values:
        raise WrongOptions(
            f"--timezone changes the zone of windows, and campaign {campaign.id} has none",
            "give --window too",
        )
    _check_can_send(settings, campaign, values)
    return values


def _find_zone(settings: "Settings", campaign: "CampaignRow", name: str | None) -> "tzinfo":
    """The zone of the times given: the account's, unless --timezone names one."""
    from zoneinfo import ZoneInfo

    from dispatcher.cli.parsing import parse_named_zone

    if name is None:
        return ZoneInfo(settings.account(campaign.account).timezone)
    if campaign.zones is not None:
        raise WrongOptions(
            f"the windows of campaign {campaign.id} are in each recipient's zone",
            "leave --timezone out",
        )
    if name == "recipient":
        raise WrongOptions(
            f"campaign {campaign.id} was not submitted with --timezone recipient",
            "submit it again with `campaign submit --timezone recipient`, or name a zone",
        )
    return parse_named_zone(name)


def _stored_windows(campaign: "CampaignRow") -> "StoredHours | None":
    """Its windows, blackouts and zone; None if it has none, or if they allow every time."""
    import orjson

    stored: list[StoredHours] = orjson.loads(campaign.schedule) if campaign.schedule else []
    return stored[0] if stored else None


def _new_schedule(
    old: "StoredHours | None", options: SetOptions, *, default: "tzinfo"
) -> str | None:
    """The new schedule: what is given replaces what is stored, and the rest stays."""
    from dispatcher.campaigns.timing import Timing
    from dispatcher.cli.parsing import check_windows
    from dispatcher.windows.zone_names import parse_zone

    def given_or_old(given: Sequence[str], stored: Sequence[str]) -> tuple[str, ...]:
        if tuple(given) == ("none",):
            return ()
        return tuple(given) or tuple(stored)

    timing = Timing(
        windows=given_or_old(options.windows, old["windows"] if old else ()),
        blackouts=given_or_old(options.blackouts, old["blackouts"] if old else ()),
        zone=parse_zone(old["zone"]) if old and not options.zone else default,
    )
    check_windows(timing)
    return timing.schedule


def _check_can_send(
    settings: "Settings", campaign: "CampaignRow", values: "ChangedSettings"
) -> None:
    """Raise Refused if nothing could ever be sent at these times and in these windows."""
    from datetime import UTC, datetime

    from dispatcher.campaigns.constraints import CampaignConstraints
    from dispatcher.campaigns.gate import check_windows_open
    from dispatcher.campaigns.timing import Timing, check_start
    from dispatcher.status import Kind
    from dispatcher.store.json_columns import decode_texts

    if not values.keys() & {"start_at", "expire_at", "schedule"}:
        return
    start_at = values.get("start_at", campaign.start_at)
    expire_at = values.get("expire_at", campaign.expire_at)
    schedule = values.get("schedule", campaign.schedule)
    now = datetime.now(UTC)
    check_start(values.get("start_at"), now)
    Timing(start_at=start_at, expire_at=expire_at).check(now)
    zones: list[str] | list[None] = decode_texts(campaign.zones) or [None]
    at = campaign.schedule_at
    if at is not None and at <= now:
        at = None
    constraints = CampaignConstraints(
        kind=Kind(campaign.kind),
        schedule=schedule,
        start_at=start_at,
        expire_at=expire_at,
        schedule_at=at,
    )
    check_windows_open(settings.account(campaign.account), constraints, zones, now)
