"""The requests of a batch: how much of it, in an adapter's types, and then as requests."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dispatcher.campaigns.rendering import needs_own_requests, render_messages
from dispatcher.errors import Refused
from dispatcher.numbers.allow_list import allowed_numbers
from dispatcher.policy.batching import BatchSize
from dispatcher.policy.routes import route_at
from dispatcher.providers.base import Provider
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import Encoding, Kind
from dispatcher.store.batches import Claim
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.row_parts import PendingMessage
from dispatcher.store.rows import CampaignRow
from dispatcher.types import SubmitBatch, SubmitRequest


def turn_size(
    claim: Claim, campaign: CampaignRow | None, provider: Provider, left: int | None
) -> BatchSize:
    """How much of the batch to send now; the rest is released again.

    One message if it probes the provider. Never more than this account's batch size at the present
    rate: a batch that was planned for another account, or at another rate, may be larger.
    """
    if claim.is_probe or campaign is None:
        return BatchSize(1)
    needs_requests = needs_own_requests(campaign, provider)
    size = provider.batch_size(needs_requests=needs_requests, rate=campaign.rate)
    return size if left is None else replace(size, recipients=min(size.recipients, left))


def refuse_others(settings: ProviderSettings, account: str, msisdns: Sequence[int]) -> None:
    """Raise Refused if an account with `allow_only` may not text one of the recipients.

    They stay pending, and their campaign is paused: somebody has changed the configuration, or the
    campaign came from another account. Raises ConfigError for a list that cannot be read.
    """
    allowed = allowed_numbers(settings.allow_only, settings.country)
    if allowed is None or allowed.issuperset(msisdns):
        return
    others = sum(msisdn not in allowed for msisdn in msisdns)
    raise Refused(
        f"account {account} sends only to the {len(allowed)} number(s) of its `allow_only`, and "
        f"{others} of the {len(msisdns)} recipients of a batch are not among them",
        "change `allow_only` and restart the workers, or cancel the campaign",
    )


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
