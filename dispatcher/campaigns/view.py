"""Finding campaigns, and what is shown of them: counts, times, and their JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.waiting import CHECK, waits_for_check
from dispatcher.campaigns.wording import iso_time
from dispatcher.errors import NotFound
from dispatcher.policy.breaker import wait_reason
from dispatcher.policy.routes import account_routes, route_at
from dispatcher.status import ACCEPTED, IN_FLIGHT, NOT_SUBMITTED, CampaignState
from dispatcher.store import (
    accounts,
    campaign_search,
    campaigns,
    costs,
    doubts,
    former_outcomes,
    scheduler,
)
from dispatcher.store.campaign_search import CampaignFilter
from dispatcher.store.column_types import format_price
from dispatcher.store.engine import Store, store_now
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.row_parts import CampaignInDoubt, FallbackSwitch
from dispatcher.store.rows import CampaignRow

_MAX_ID_DIGITS = 18
#: A scheduler that is silent for longer counts as dead.
SCHEDULER_SILENT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignView:
    """A campaign with its counts and what it waits for."""

    campaign: CampaignRow
    counts: dict[str, int]
    batches: dict[str, int]
    account_paused_by: str | None
    account_pause_reason: str | None
    polls: int
    next_poll_at: datetime | None
    #: Since when recipients are in doubt, and when that is looked into automatically.
    doubt_since: datetime | None = None
    doubt_next_at: datetime | None = None
    #: How many looks into that counted: those that read the provider's whole list.
    doubt_looks: int = 0
    #: Who stopped the account (`dispatcher stop`), and since when; None while nobody has.
    account_stopped_by: str | None = None
    account_stopped_at: datetime | None = None
    #: Why the account does not send at full speed, and what it waits for; None if it does.
    account_trouble: str | None = None
    account_waits_for: str | None = None
    #: What keeps its own batches from being sent now, for people; None if nothing does.
    waits_for: str | None = None
    #: When it moved to another account, and why.
    moves: Sequence[FallbackSwitch] = ()
    #: The sum of the prices that the providers stated; None if they state none.
    cost: Decimal | None = None
    #: How many recipients a person had submitted again, by the state that they had before.
    retried: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it unless a person acts."""
        return self.campaign.finished_at is not None

    @property
    def tally(self) -> "Tally":
        """Its counts in the words that all commands use."""
        return tally_messages(self.campaign, self.counts)

    @property
    def total_submitted(self) -> int:
        """Messages that a provider has accepted so far."""
        return self.tally.submitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The messages of a campaign, counted in the words of `list`, `show`, `watch` and `--wait`.

    `total` is `pending` + `submitted` + `in_doubt` + `not_submitted`. The other fields are parts of
    `submitted`.
    """

    total: int
    #: Not submitted yet.
    pending: int
    #: What a provider accepted, whatever came of it.
    submitted: int
    in_doubt: int
    #: Refused by the provider, failed, cancelled, lapsed or suppressed: no provider took it.
    not_submitted: int
    delivered: int
    #: The provider says that it did not arrive.
    not_delivered: int
    #: A receipt may still come.
    waiting: int
    #: Its polling ended without one.
    no_receipt: int


def tally_messages(campaign: CampaignRow, counts: Mapping[str, int]) -> Tally:
    """Count in words; `counts` are those of a CampaignView: per state, and of rows."""
    not_delivered = counts["undelivered"] + counts["expired"]
    return Tally(
        total=counts["total"],
        pending=counts["pending"],
        submitted=sum(counts[state.label] for state in ACCEPTED),
        in_doubt=counts["in_doubt"],
        # Rows that were suppressed by the import have no message.
        not_submitted=sum(counts[state.label] for state in NOT_SUBMITTED) - campaign.suppressed,
        delivered=counts["delivered"],
        not_delivered=not_delivered,
        waiting=counts["submitted"] - counts["no_receipt"],
        no_receipt=counts["no_receipt"],
    )


def find_campaign(conn: Connection, reference: str) -> CampaignRow:
    """A campaign by id or name. Raises UsageProblem if there is none, or more than one."""
    if reference.isascii() and reference.isdigit() and len(reference) <= _MAX_ID_DIGITS:
        found = campaigns.load_campaign(conn, int(reference))
        if found is not None:
            return found
    rows = campaign_search.find_by_name(conn, reference)
    if len(rows) > 1:
        ids = ", ".join(f"{row.id} ({row.state})" for row in rows[:10])
        raise NotFound(f"{len(rows)} campaigns are named {reference!r}: {ids}", "give the id")
    if not rows:
        hint = "`dispatcher campaign list` shows all campaigns"
        if near := get_close_matches(reference, campaign_search.newest_names(conn), n=1):
            hint = f"did you mean {near[0]!r}? {hint}"
        raise NotFound(f"there is no campaign {reference!r}", hint)
    return rows[0]


def load_view(store: Store, reference: str) -> CampaignView:
    """Read a campaign with all that `show` and `watch` need. Raises as `find_campaign`."""
    with store.read() as conn:
        return _build_view(conn, find_campaign(conn, reference))


def _build_view(conn: Connection, campaign: CampaignRow) -> CampaignView:
    counts = campaign_search.count_messages(conn, [campaign.id])[campaign.id]
    account = accounts.find_account(conn, campaign.account)
    polls = campaign_search.load_poll_times(conn, campaign.id)
    doubt = doubts.doubt_outlook(conn, campaign.id)
    now = store_now(conn)
    batches = campaign_search.count_batches(conn, campaign.id)
    return CampaignView(
        campaign=campaign,
        counts=_with_intake(campaign, counts),
        batches=batches,
        account_paused_by=account.paused_by if account is not None else None,
        account_pause_reason=account.pause_reason if account is not None else None,
        account_stopped_by=account.stopped_by if account is not None else None,
        account_stopped_at=account.stopped_at if account is not None else None,
        polls=polls.n,
        next_poll_at=polls.next_at,
        doubt_since=doubt.since,
        doubt_next_at=doubt.next_at,
        doubt_looks=doubt.looks or 0,
        account_trouble=account.breaker_reason if account is not None else None,
        account_waits_for=wait_reason(account, now),
        waits_for=_find_wait(conn, campaign, batches, now),
        moves=_load_moves(conn, campaign),
        cost=costs.campaign_cost(conn, campaign.id),
        retried={
            state.label: count
            for state, count in former_outcomes.count_retried(conn, [campaign.id]).items()
        },
    )


def _load_moves(conn: Connection, campaign: CampaignRow) -> Sequence[FallbackSwitch]:
    if campaign.routes is None:
        return ()
    from dispatcher.store.fallback_moves import load_fallback_history

    return load_fallback_history(conn, campaign.id)


def _find_wait(
    conn: Connection, campaign: CampaignRow, batches: Mapping[str, int], now: datetime
) -> str | None:
    """What a running campaign waits for by itself, whatever its account and its windows say."""
    under_way = sum(batches[state.label] for state in IN_FLIGHT)
    if campaign.state != CampaignState.RUNNING or under_way:
        return None
    if waits_for_check(campaign, now):
        return CHECK
    due = campaign_search.next_batch(conn, campaign.id)
    if due is None or due.not_before is None or due.not_before <= now:
        return None
    why = f" ({due.error})" if due.error else ""
    return f"the next try of its messages at {due.not_before:%Y-%m-%d %H:%M:%S} UTC{why}"


def newest_campaigns(
    store: Store, *, limit: int, only: CampaignFilter, only_single: bool = False
) -> list[tuple[CampaignRow, dict[str, int]]]:
    """The newest campaigns that meet a filter, with their counts.

    Single messages (`dispatcher send`) get the room that campaigns leave, so that they never push
    one off the list; `only_single` lists them alone.
    """
    with store.read() as conn:
        rows: list[CampaignRow] = []
        if not only_single:
            rows = campaign_search.list_newest(conn, limit=limit, only=only, single=False)
        if len(rows) < limit:
            room = limit - len(rows)
            rows += campaign_search.list_newest(conn, limit=room, only=only, single=True)
        rows.sort(key=lambda row: row.id, reverse=True)
        counts = campaign_search.count_messages(conn, [row.id for row in rows])
    return [(row, _with_intake(row, counts[row.id])) for row in rows]


def list_in_doubt(store: Store) -> list[CampaignInDoubt]:
    """Every campaign with recipients in doubt, oldest first, whatever its state."""
    with store.read() as conn:
        return doubts.campaigns_in_doubt(conn)


def _with_intake(campaign: CampaignRow, counts: dict[str, int]) -> dict[str, int]:
    """The counts of message states, and those of rows without a message."""
    return {
        **counts,
        "total": campaign.total,
        "invalid": campaign.invalid,
        "duplicate": campaign.duplicate,
        "suppressed": counts["suppressed"] + campaign.suppressed,
    }


def summary_json(campaign: CampaignRow, counts: dict[str, int]) -> dict[str, Any]:
    """The fields that every JSON of a campaign has; `campaign list --json` has only these."""
    return {
        "id": campaign.id,
        "name": campaign.name,
        "state": campaign.state,
        "state_reason": campaign.state_reason,
        "account": campaign.account,
        "kind": campaign.kind,
        "counts": counts,
        "created_at": iso_time(campaign.created_at),
        "started_at": iso_time(campaign.started_at),
        "finished_at": iso_time(campaign.finished_at),
        "purged_at": iso_time(campaign.purged_at),
    }


def details_json(shown: CampaignView) -> dict[str, Any]:
    """The JSON of `campaign show`, without its forecast."""
    campaign = shown.campaign
    return {
        **summary_json(campaign, shown.counts),
        "sender": route_at(campaign, campaign.account).sender,
        "template": route_at(campaign, campaign.account).template,
        "text": campaign.text if campaign.template_columns is None else None,
        "retried": dict(shown.retried),
        "source": campaign.source_name,
        "rows": campaign.rows,
        "parts": campaign.parts,
        "cost": format_price(shown.cost),
        "priority": campaign.priority,
        "rate": campaign.rate,
        "start_at": iso_time(campaign.start_at),
        "expire_at": iso_time(campaign.expire_at),
        "schedule": orjson.loads(campaign.schedule) if campaign.schedule else None,
        "zones": decode_texts(campaign.zones) if campaign.zones else None,
        "contact_lists": decode_texts(campaign.contact_lists) if campaign.contact_lists else None,
        "batches": shown.batches,
        "polls": {"open": shown.polls, "next_at": iso_time(shown.next_poll_at)},
        "doubt": {
            "since": iso_time(shown.doubt_since),
            "next_at": iso_time(shown.doubt_next_at),
            "looks": shown.doubt_looks,
            "on_doubt": campaign.on_doubt,
        },
        "account_paused": shown.account_paused_by,
        "account_pause_reason": shown.account_pause_reason,
        "account_stopped_by": shown.account_stopped_by,
        "account_stopped_at": iso_time(shown.account_stopped_at),
        "account_trouble": shown.account_trouble,
        "account_waits_for": shown.account_waits_for,
        "waits_for": shown.waits_for,
        "accounts": [leg.account for leg in account_routes(campaign)],
        "moves": [
            {"at": iso_time(move.at), "account": move.account, "detail": move.detail}
            for move in shown.moves
        ],
    }


def scheduler_silence_s(store: Store) -> float | None:
    """Seconds since the last tick of a scheduler; None if there never was one."""
    with store.read() as conn:
        ticked = scheduler.last_tick_at(conn)
        return None if ticked is None else (store_now(conn) - ticked).total_seconds()
