"""The tick: every second what is due is started, swept, released, polled and finished."""

import logging

from dispatcher.release import release
from dispatcher.store import accounts, campaigns, scheduler
from dispatcher.store.engine import store_now
from dispatcher.sweep import sweep
from workers.app import TICK, app, publish
from workers.polling import release_polls
from workers.services import Services, services

log = logging.getLogger(__name__)


@app.task(name=TICK)
def tick() -> None:
    """One look at the store; a second one within half a second does nothing."""
    own = services()
    with own.store.write() as conn:
        now = store_now(conn)
        judge_after = scheduler.tick(conn, now, own.lease)
        if judge_after is None:
            return
        accounts.ensure(conn, own.settings.accounts)
        campaigns.lapse_due(conn, now)
        campaigns.start_due(conn, now)
        requeue_after_s = own.settings.worker.requeue_after_s
        unclaimed = sweep(conn, now=now, judge_after=judge_after, requeue_after_s=requeue_after_s)
        busy = campaigns.running_accounts(conn)
    publish(unclaimed)
    for account in busy:
        _release(own, account)
    release_polls(own)
    with own.store.write() as conn:
        for campaign_id in campaigns.finish_done(conn, store_now(conn)):
            log.info("campaign %d ended", campaign_id)


def _release(own: Services, account: str) -> None:
    settings = own.settings.accounts.get(account)
    if settings is None:
        log.warning("account %r has a running campaign but is not configured here", account)
        return
    with own.store.write() as conn:
        tickets = release(conn, account, settings, store_now(conn))
    publish(tickets)
