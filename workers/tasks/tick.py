"""The tick: once a second it starts, sweeps, releases, polls and finishes what is due."""

import logging
import time

from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound import fallback
from dispatcher.outbound.release import find_releasable_accounts, release_batches
from dispatcher.outbound.silence import SilenceAlarm
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.recovery.broker_owner import OWNER_REMEDY
from dispatcher.store import accounts, campaigns, clocks, corrections, scheduler
from dispatcher.store.corrections import Correction
from dispatcher.store.engine import store_now
from dispatcher.store.tick_lock import hold_tick_lock
from workers.app import app, publish_batches
from workers.broker.celery_broker import dropped_messages
from workers.broker.task_messages import TICK
from workers.log_filter import log_expected_errors
from workers.notifier import Notifier
from workers.services import Services, get_services
from workers.tasks.poll import release_polls
from workers.tasks.probe import release_probes
from workers.tasks.recheck import release_rechecks
from workers.tasks.reconcile import release_reconciles

log = logging.getLogger(__name__)

#: A tick releases for so long at most, so that the next one is not late.
_RELEASES_S = 0.6
#: Of this process, used by one tick at a time: when each account last had its turn.
_last_turns: dict[str, float] = {}
_silence_alarm = SilenceAlarm()
_notifier = Notifier()


#: Without events: ticks would be most of what Flower keeps and shows.
@app.task(name=TICK, send_events=False)
def tick_task() -> None:
    """Run a tick. Beside another one, or within half a second of it, it does nothing."""
    with log_expected_errors(log, LogEvent.TICK_FAILED, "tick"):
        run_tick(get_services())


def run_tick(services: Services) -> None:
    """Run a tick with these services, unless another tick runs, in whatever process."""
    with hold_tick_lock(services.store) as is_only_tick:
        if is_only_tick:
            _run_only_tick(services)


def _run_only_tick(services: Services) -> None:
    if (refused := services.broker_owner.claim_database()) is not None:
        words = "nothing is released: %s; %s"
        log_event(log, LogEvent.NOTHING_RELEASED, words, refused, OWNER_REMEDY)
        return
    remembered = services.rollback_guard.read_redis_mark()
    _correct_times(services)
    started: list[int] = []
    with services.store.write() as conn:
        tick = scheduler.begin_tick(conn, services.lease)
        if tick is None:
            return
        now = tick.now
        held = services.rollback_guard.check_and_hold(conn, remembered=remembered)
        dropped = dropped_messages.take_count()
        corrections.count_corrections(conn, {Correction.MESSAGE_DROPPED: dropped})
        accounts.create_missing_accounts(conn, services.settings.accounts)
        if held is None:
            has_open = campaigns.has_open_campaign(conn)
            if has_open:
                campaigns.lapse_expired(conn, now)
                started = campaigns.start_due(conn, now)
            requeue_after_s = services.settings.worker.requeue_after_s
            unclaimed = sweep_batches(
                conn, now=now, judge_after=tick.judge_after, requeue_after_s=requeue_after_s
            )
    _notifier.start_pass(services)
    if held is not None:
        log_event(log, LogEvent.NOTHING_RELEASED, "nothing is released: %s", held)
        return
    for campaign_id in started:
        words = f"campaign {campaign_id} started"
        log_event(log, LogEvent.CAMPAIGN_STARTED, words, campaign=campaign_id)
    services.rollback_guard.save_marks()
    publish_batches(unclaimed)
    # Before the releases: there may be many of them, and receipts do not wait for them.
    release_polls(services)
    release_reconciles(services)
    release_probes(services)
    if not has_open:
        return
    _move_to_fallbacks(services)
    release_rechecks(services)
    _release_due(services)
    _log_silence(services)
    _finish_campaigns(services)


def _finish_campaigns(services: Services) -> None:
    with services.store.read() as conn:
        if not campaigns.is_any_over(conn, store_now(conn)):
            return
    with services.store.write() as conn:
        for campaign_id in campaigns.finish_campaigns(conn, store_now(conn)):
            words = f"campaign {campaign_id} ended"
            log_event(log, LogEvent.CAMPAIGN_ENDED, words, campaign=campaign_id)


def _correct_times(services: Services) -> None:
    """Before the tick: what a clock that ran ahead has left blocks nothing for long."""
    with services.store.read() as conn:
        last_tick = scheduler.last_tick_at(conn)
        if not clocks.must_correct(last_tick, store_now(conn)):
            return
    with services.store.write() as conn:
        # In this order: another tick in between would look like a clock that went back.
        last_tick = scheduler.last_tick_at(conn)
        now = store_now(conn)
        if last_tick is not None and last_tick > now:
            words = "the store's clock went back by %s: times are corrected"
            log_event(log, LogEvent.CLOCK_WENT_BACK, words, last_tick - now)
        clocks.correct_times(conn, now, last_tick, now + services.lease)


def _log_silence(services: Services) -> None:
    with services.store.read() as conn:
        now = store_now(conn)
        if _silence_alarm.is_due(now):
            silent = _silence_alarm.find_silent(conn, services.settings.accounts, now)
            for name, words in silent.items():
                log_event(log, LogEvent.ACCOUNT_SILENT, words, account=name)


def _move_to_fallbacks(services: Services) -> None:
    """Move campaigns to healthy accounts."""
    configured = services.settings.accounts
    with services.store.read() as conn:
        found = fallback.find_campaigns_to_move(conn, configured, store_now(conn))
    for campaign_id in found:
        with services.store.write() as conn:
            now = store_now(conn)
            done = fallback.move_campaign(conn, campaign_id, configured, services.provider_of, now)
        if done is not None:
            log_event(
                log, LogEvent.CAMPAIGN_MOVED, done.words, campaign=campaign_id, account=done.account
            )


def _release_due(services: Services) -> None:
    """Release at the accounts that have something due, for a part of a tick's second.

    The next tick begins with the accounts that had no turn.
    """
    with services.store.read() as conn:
        found = find_releasable_accounts(conn, services.settings.accounts, store_now(conn))
    give_up_at = time.monotonic() + _RELEASES_S
    for account in sorted(found, key=lambda name: (_last_turns.get(name, 0.0), name)):
        if time.monotonic() > give_up_at:
            return
        _last_turns[account] = time.monotonic()
        _release_account(services, account)


def _release_account(services: Services, account: str) -> None:
    settings = services.settings.accounts.get(account)
    if settings is None:
        words = "account %r has a running campaign but is not configured here"
        log_event(log, LogEvent.ACCOUNT_UNKNOWN, words, account, account=account)
        return
    most = services.release_clock.max_in_flight(account, settings.max_in_flight)
    with services.store.write(survives_power_cut=False) as conn:
        tickets = release_batches(conn, account, settings, store_now(conn), max_in_flight=most)
    publish_batches(tickets)
