"""What a person changes about a stored campaign: pause, resume, cancel, rate and windows."""

from datetime import timedelta
from typing import Any

from dispatcher.campaigns.view import find_campaign
from dispatcher.errors import Refused
from dispatcher.policy.pacing import DEADLINE_SLACK_S
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaigns
from dispatcher.store.engine import Store, store_now
from dispatcher.store.table_values import AnyRow

_ACTOR = "operator"


def pause_campaign(store: Store, reference: str) -> AnyRow:
    """Stop releasing; what is at the provider is settled. Raises Refused where it cannot be."""
    old = [CampaignState.SCHEDULED, CampaignState.RUNNING]
    return _change_state(store, reference, old, CampaignState.PAUSED, "by a person")


def resume_campaign(store: Store, reference: str) -> AnyRow:
    """Go on with a paused campaign."""
    return _change_state(store, reference, [CampaignState.PAUSED], CampaignState.SCHEDULED, None)


def cancel_campaign(store: Store, reference: str) -> AnyRow:
    """End a campaign: what nobody holds is cancelled, what is in flight is settled and polled."""
    old = [CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED]
    return _change_state(store, reference, old, CampaignState.CANCELLED, "by a person")


def set_terms(store: Store, reference: str, values: dict[str, Any], timeout_s: float) -> AnyRow:
    """Change rate, schedule, priority, start or expiry of a campaign that is not over.

    `timeout_s` is that of its account's requests.
    """
    with store.write() as conn:
        campaign = find_campaign(conn, reference)
        if campaign.finished_at is not None or campaign.state == CampaignState.IMPORTING:
            raise Refused(f"campaign {campaign.id} is {campaign.state}: there is nothing to change")
        campaigns.change_settings(
            conn,
            campaign.id,
            values,
            deadline_after=timedelta(seconds=timeout_s + DEADLINE_SLACK_S),
            actor=_ACTOR,
            now=store_now(conn),
        )
        return find_campaign(conn, str(campaign.id))


def _change_state(
    store: Store,
    reference: str,
    old: list[CampaignState],
    new: CampaignState,
    reason: str | None,
) -> AnyRow:
    with store.write() as conn:
        campaign = find_campaign(conn, reference)
        now = store_now(conn)
        if campaign.state == new:
            return campaign
        done = campaigns.change_state(
            conn, campaign.id, old, new, actor=_ACTOR, reason=reason, now=now
        )
        if not done:
            allowed = " or ".join(old)
            raise Refused(
                f"campaign {campaign.id} is {campaign.state}; only a campaign that is {allowed} "
                f"can become {new}"
            )
        if new is CampaignState.CANCELLED:
            campaigns.end_waiting_batches(conn, campaign.id, MessageState.CANCELLED, now)
            campaigns.finish_campaigns(conn, now)
        return find_campaign(conn, str(campaign.id))
