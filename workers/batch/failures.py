"""Batches whose requests cannot be built: nothing was begun, and other batches go on."""

import logging
import random
import traceback
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.errors import Refused
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.backoff import full_jitter
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import batch_endings, campaigns
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from workers.services import Services

log = logging.getLogger(__name__)


def pause_refused_campaign(services: Services, claim: Claim, refusal: Refused) -> None:
    """Pause the campaign of a refused batch: each of its batches would be refused like this one."""
    with services.store.write() as conn:
        now = store_now(conn)
        pause_running_campaign(conn, claim, refusal.message, now)
        batch_endings.hand_back(conn, claim, now=now, error=refusal.message)


def pause_running_campaign(conn: Connection, claim: Claim, reason: str, now: datetime) -> None:
    """Pause the campaign of a batch, if it is running, and log it."""
    is_done = campaigns.change_state(
        conn,
        claim.campaign_id,
        [CampaignState.RUNNING],
        CampaignState.PAUSED,
        actor="dispatcher",
        reason=reason,
        now=now,
    )
    if is_done:
        words = f"campaign {claim.campaign_id}, account {claim.account}: paused: {reason}"
        log_event(
            log,
            LogEvent.CAMPAIGN_PAUSED,
            words,
            campaign=claim.campaign_id,
            account=claim.account,
        )


def count_failure(services: Services, claim: Claim, error: Exception) -> str:
    """Count a failed try of a batch that ran into a defect, and end it after `max_attempts`.

    Returns what happened. Changes nothing if the batch has begun. The message of `error` is not
    stored or logged: it may hold a number or a text.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = f"its requests could not be built ({type(error).__name__})"
    log_event(
        log,
        LogEvent.BATCH_NOT_BUILT,
        "batch %d: %s at %s:%s",
        claim.id,
        words,
        place.filename,
        place.lineno,
        **claim.log_fields,
    )
    settings = services.settings.account(claim.account)
    with services.store.write() as conn:
        now = store_now(conn)
        wait_s = full_jitter(claim.tries + 1, random=random.random)
        batch_endings.close_batch(
            conn,
            claim,
            not_before=now + timedelta(seconds=wait_s),
            error=words,
            failed_after=settings.max_attempts,
            now=now,
            held_as=BatchState.CLAIMED,
        )
    return f"campaign {claim.campaign_id}, {claim.account}: {words}"
