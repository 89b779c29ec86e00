"""`dispatcher campaign set`: change how fast, when and in what order a campaign is sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.campaign.forecast_view import campaign_terms, print_forecast, print_terms
from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.moments import moment_reader
from dispatcher.cli.output import print_json
from dispatcher.cli.question import require_yes
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from datetime import tzinfo

    from dispatcher.cli.moments import MomentReader
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
@click.option("--start-at", metavar="TIME", help="Send nothing before, as `mon 9:00`; `none`: now.")
@click.option("--expire-at", metavar="TIME", help="Send nothing after; `none`: never expire.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(SetOptions)
def campaign_set(ctx: click.Context, options: SetOptions) -> None:
    """Change a campaign's rate, windows, priority or times. Takes effect from the next request.

    \b
    Example:
      dispatcher campaign set 1 --rate 50/s --window "mon-fri 09:00-17:00"
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
    account = settings.account(campaign.account)
    reader = moment_reader(account, _windows_zone(campaign, options.zone))
    values = _new_values(settings, campaign, options, reader)
    if not values:
        raise WrongOptions(
            "nothing to set",
            "`dispatcher campaign set --help` lists what can be changed, such as --rate 50/s",
        )
    _confirm_moments(values, account, reader)
    timeout_s = account.timeout_s
    changed = set_terms(store, str(campaign.id), values, timeout_s)
    shown = load_view(store, str(changed.id))
    if options.as_json:
        print_json(details_json(shown))
        return
    names = ", ".join(_TERMS[name] for name in values)
    click.echo(f"campaign {changed.id}: {names} changed")
    print_terms(campaign_terms(ctx, changed))
    print_forecast(ctx, store, shown)
    for note in reader.notes:
        click.secho(f"note: {note}", fg="yellow")
    for past in past_dates(changed, datetime.now(UTC)) if "schedule" in values else ():
        click.secho(f"note: already in the past: {past}", fg="yellow")
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
    settings: "Settings", campaign: "CampaignRow", options: SetOptions, reader: "MomentReader"
) -> "ChangedSettings":
    """The columns to change, with their new values; empty if there is nothing to change."""
    from dispatcher.cli.parsing import parse_rate
    from dispatcher.status import Kind

    if campaign.zones is not None and options.zone == "recipient":  # the campaign has it already
        options = replace(options, zone=None)
    values: ChangedSettings = {}
    if options.rate is not None:
        values["rate"] = None if options.rate == "none" else parse_rate(options.rate)
    if options.priority is not None:
        values["priority"] = options.priority
    if (text := options.start_at) is not None:
        values["start_at"] = None
        if text != "none":
            own = bool(campaign.schedule) if not options.windows else options.windows != ("none",)
            windows = settings.account(campaign.account).windows_for(Kind(campaign.kind))
            has_windows = own or bool(windows)
            values["start_at"] = reader.read_start("--start-at", text, has_windows=has_windows)
    if (text := options.expire_at) is not None:
        values["expire_at"] = None if text == "none" else reader.read_time("--expire-at", text)
    old = _stored_windows(campaign)
    if options.windows or options.blackouts or (options.zone and old):
        values["schedule"] = _new_schedule(old, options, default=reader.zone)
    elif options.zone and not values:
        raise WrongOptions(
            f"--timezone changes the zone of windows, and campaign {campaign.id} has none",
            "give --window too",
        )
    _check_can_send(settings, campaign, values)
    return values


def _windows_zone(campaign: "CampaignRow", name: str | None) -> "tzinfo | None":
    """The zone that --timezone names, for windows and times; None: the account's."""
    from dispatcher.cli.parsing import parse_named_zone

    if name is None or (name == "recipient" and campaign.zones is not None):
        return None
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


def _confirm_moments(
    values: "ChangedSettings", account: "ProviderSettings", reader: "MomentReader"
) -> None:
    """Ask a person whether the words for a moment were understood; scripts are not asked."""
    from zoneinfo import ZoneInfo

    from dispatcher.campaigns.wording import format_day

    moments = [
        f"{what} {format_day(at, ZoneInfo(account.timezone))}"
        for what, at in (("start", values.get("start_at")), ("expire", values.get("expire_at")))
        if at is not None
    ]
    if reader.has_spoken and moments:
        require_yes(f"It will {' and '.join(moments)}?", False, otherwise="nothing was changed")


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
    from zoneinfo import ZoneInfo

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
    zone = ZoneInfo(settings.account(campaign.account).timezone)
    check_start(values.get("start_at"), now, zone)
    Timing(start_at=start_at, expire_at=expire_at, zone=zone).check(now)
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
