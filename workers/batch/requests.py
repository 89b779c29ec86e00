"""The requests of a batch: its recipients and route in an adapter's types, then the requests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dispatcher.campaigns.rendering import render_messages
from dispatcher.policy.routes import route_at
from dispatcher.providers.base import Provider
from dispatcher.status import Encoding, Kind
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.row_parts import PendingMessage
from dispatcher.store.rows import CampaignRow
from dispatcher.types import SubmitBatch, SubmitRequest


def build_batch(
    campaign: CampaignRow,
    account: str,
    encoding: int,
    rows: Sequence[PendingMessage],
    now: datetime,
) -> SubmitBatch:
    """Render the pending rows of a campaign's batch for the adapter of its account.

    A sending time that was left to the provider is dropped once it has passed.
    """
    schedule_at = campaign.schedule_at
    return SubmitBatch(
        recipients=render_messages(campaign.text, rows, campaign.template_columns),
        encoding=Encoding(encoding),
        kind=Kind(campaign.kind),
        route=route_at(campaign, account),
        flash=campaign.flash,
        schedule_at=schedule_at if schedule_at is not None and schedule_at > now else None,
    )


def build_requests(
    provider: Provider, campaign: CampaignRow, batch: SubmitBatch
) -> tuple[SubmitRequest, ...]:
    """Build the requests that submit `batch`: a single one for a campaign to contact lists."""
    if campaign.contact_lists is None:
        made = tuple(provider.submit_requests(batch))
    else:
        http = provider.contact_list_request(batch, decode_texts(campaign.contact_lists))
        made = (SubmitRequest(http=http, recipients=batch.recipients),)
    proxy = provider.settings.proxy
    if proxy is None:
        return made
    return tuple(replace(one, http=replace(one.http, proxy=proxy)) for one in made)
