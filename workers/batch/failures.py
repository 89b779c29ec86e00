"""Batches whose requests cannot be made: nothing was begun, and no other batch waits for them."""

import logging
import random
import traceback
from datetime import timedelta

from dispatcher.errors import Refused
from dispatcher.policy.backoff import full_jitter
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import batch_endings, batches, campaigns
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from workers.services import Services

log = logging.getLogger(__name__)


def pause_campaign(services: Services, claim: Claim, refusal: Refused) -> None:
    """A request that may not be made as it is would be refused to every batch of the campaign."""
    with services.store.write() as conn:
        campaigns.change_state(
            conn,
            claim.campaign_id,
            [CampaignState.RUNNING],
            CampaignState.PAUSED,
            actor="dispatcher",
            reason=refusal.message,
            now=store_now(conn),
        )
        batches.hand_back(conn, claim, not_before=None, error=refusal.message)


def count_failure(services: Services, claim: Claim, error: Exception) -> None:
    """Bound the tries of a batch whose requests cannot even be made.

    Nothing was begun, or this changes nothing. The error's own text may hold a number or a text.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = f"its requests cannot be made ({type(error).__name__})"
    log.error("batch %d: %s at %s:%s", claim.id, words, place.filename, place.lineno)
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
