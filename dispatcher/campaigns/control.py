"""What a person changes about a stored campaign: pause, resume, cancel, rate and windows."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from dispatcher.campaigns.view import find_campaign
from dispatcher.campaigns.waiting import is_broken_off
from dispatcher.errors import StateRefused
from dispatcher.policy.pacing import DEADLINE_SLACK_S
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaign_search, campaign_settings, campaigns
from dispatcher.store.audit import current_person
from dispatcher.store.campaign_settings import ChangedSettings
from dispatcher.store.engine import Store, store_now
from dispatcher.store.locks import lock_campaign
from dispatcher.store.rows import CampaignRow

#: The states in which a campaign can be paused, and in which it can be cancelled.
PAUSABLE: Final = (CampaignState.SCHEDULED, CampaignState.RUNNING)
CANCELLABLE: Final = (*PAUSABLE, CampaignState.PAUSED)
#: What to do about a campaign that is importing.
IMPORTING_HINT: Final = (
    "nothing of it is sent: Ctrl-C where its file is read ends it; if nobody reads it any more, "
    "submit the same file again to replace it, or discard it with `dispatcher campaign cancel`"
)


def select_campaigns(
    store: Store,
    references: Sequence[str],
    *,
    accounts: Collection[str],
    states: Collection[CampaignState],
) -> list[CampaignRow]:
    """The campaigns that are named, each once, whatever their states.

    Without `references` all those in one of `states`, oldest first; only of `accounts`, where that
    is not empty. Of imports only those that were broken off. Raises UsageProblem as
    `find_campaign`.
    """
    with store.read() as conn:
        if references:
            found = [find_campaign(conn, reference) for reference in references]
        else:
            now = store_now(conn)
            found = [
                campaign
                for campaign in campaign_search.list_open(conn, states=states, accounts=accounts)
                if campaign.state != CampaignState.IMPORTING or is_broken_off(campaign, now)
            ]
    return list({campaign.id: campaign for campaign in found}.values())


def count_pending(store: Store, rows: Sequence[CampaignRow]) -> int:
    """How many recipients of these campaigns are not submitted yet."""
    with store.read() as conn:
        counts = campaign_search.count_messages(conn, [row.id for row in rows])
    return sum(each[MessageState.PENDING.label] for each in counts.values())


def pause_campaign(store: Store, reference: str) -> CampaignRow:
    """Stop sending a campaign; what is in flight is settled. Raises Refused if it is over."""
    return _change_state(store, reference, PAUSABLE, CampaignState.PAUSED, "paused")


def resume_campaign(store: Store, reference: str) -> CampaignRow:
    """Continue a paused campaign. Raises Refused if it is not paused."""
    return _change_state(
        store, reference, [CampaignState.PAUSED], CampaignState.SCHEDULED, "resumed"
    )


def cancel_campaign(store: Store, reference: str) -> CampaignRow:
    """End a campaign: what is not in flight is cancelled, what is in flight is settled and polled.

    Raises Refused if it is over, and for an import: `cancel_import` discards one.
    """
    campaign = _change_state(store, reference, CANCELLABLE, CampaignState.CANCELLED, "cancelled")
    # If this process is killed here, the tick continues.
    while _cancel_more(store, campaign.id):
        pass
    with store.read() as conn:
        return find_campaign(conn, str(campaign.id))


def check_changeable(campaign: CampaignRow) -> None:
    """Raise Refused for a campaign that is over, or not accepted yet."""
    if campaign.finished_at is not None or campaign.state == CampaignState.IMPORTING:
        raise StateRefused(
            f"campaign {campaign.id} is {campaign.state} and cannot be changed",
            IMPORTING_HINT
            if campaign.state == CampaignState.IMPORTING
            else "only a campaign that is scheduled, running or paused can be changed",
        )


def check_not_purged(campaign: CampaignRow) -> None:
    """Raise Refused for a campaign whose numbers and texts are gone."""
    if campaign.purged_at is not None:
        raise StateRefused(
            f"campaign {campaign.id} was purged on {campaign.purged_at:%Y-%m-%d}: its numbers and "
            "texts are gone",
            f"its counts are kept: `dispatcher campaign show {campaign.id}`",
        )


def set_terms(
    store: Store, reference: str, values: ChangedSettings, timeout_s: float
) -> CampaignRow:
    """Change columns of a campaign's row: rate, schedule, priority, start_at or expire_at.

    `timeout_s` is the time that its account allows for a request. Raises Refused if it is over.
    """

    def change(conn: Connection) -> CampaignRow:
        campaign = lock_campaign(conn, find_campaign(conn, reference).id)
        check_changeable(campaign)
        campaign_settings.change_settings(
            conn,
            campaign.id,
            values,
            deadline_after=timedelta(seconds=timeout_s + DEADLINE_SLACK_S),
            actor=current_person(),
            now=store_now(conn),
        )
        return find_campaign(conn, str(campaign.id))

    return store.run_write(change)


def _change_state(
    store: Store,
    reference: str,
    old: Sequence[CampaignState],
    new: CampaignState,
    participle: str,
) -> CampaignRow:
    """Change the state if it is one of `old`; one that is `new` already stays as it is."""

    def change(conn: Connection) -> CampaignRow:
        campaign = lock_campaign(conn, find_campaign(conn, reference).id)
        now = store_now(conn)
        if campaign.state == new:
            return campaign
        reason = None if new is CampaignState.SCHEDULED else "by a person"
        done = campaigns.change_state(
            conn, campaign.id, old, new, actor=current_person(), reason=reason, now=now
        )
        if not done:
            raise StateRefused(
                f"campaign {campaign.id} is {campaign.state} and cannot be {participle}",
                IMPORTING_HINT
                if campaign.state == CampaignState.IMPORTING
                else f"only a campaign that is {' or '.join(old)} can be {participle}",
            )
        return find_campaign(conn, str(campaign.id))

    return store.run_write(change)


def _cancel_more(store: Store, campaign_id: int) -> bool:
    """Cancel the next group of waiting batches; False where none was left."""

    def cancel(conn: Connection) -> bool:
        lock_campaign(conn, campaign_id)
        now = store_now(conn)
        if campaigns.has_waiting_batches(conn, campaign_id):
            campaigns.end_waiting_batches(conn, campaign_id, MessageState.CANCELLED, now)
            return True
        campaigns.finish_campaigns(conn, now, only=campaign_id)
        return False

    return store.run_write(cancel)
