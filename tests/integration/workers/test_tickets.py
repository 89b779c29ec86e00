"""A batch's only message: whatever keeps its task from claiming it, the batch is not forgotten."""

import gc
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.worker.request import Request

from dispatcher.errors import StoreBusyError, StoreDataError, StoreError
from dispatcher.status import BatchState
from dispatcher.store.engine import store_now
from dispatcher.store.tables import BATCH
from dispatcher.store.tickets import mark_queued
from tests.support.stores import FIRST_NUMBER, add_campaign, batch_of, queued, rows
from tests.support.ticks import Ticker
from workers.batch.durable_write import write_patiently
from workers.broker.task_messages import TICK
from workers.task_report import TaskReport


class Away:
    """A store whose first `times` transactions fail."""

    def __init__(self, store, error, times):
        self._store, self._error, self.left = store, error, times

    @contextmanager
    def write(self, **options):
        if self.left:
            self.left -= 1
            raise self._error
        with self._store.write(**options) as conn:
            yield conn


@pytest.fixture
def services(sqlite_store, tmp_path):
    return Ticker(sqlite_store, tmp_path).services


@pytest.fixture
def ticket(sqlite_store):
    add_campaign(sqlite_store)
    return queued(sqlite_store)[0]


def state_of(store, ticket):
    return BatchState(batch_of(store, ticket.id).state)


@pytest.mark.parametrize("error", [StoreBusyError("busy"), StoreError("locked by another process")])
@pytest.mark.parametrize("times", [1, 7])
def test_a_claim_waits_for_a_store_that_is_busy_or_away(services, ticket, error, times):
    from workers.tasks.submit import _claim_batches

    away = Away(services.store, error, times)
    (claim,) = _claim_batches(replace(services, store=away), ticket.id, ticket.fence)
    assert (claim.id, claim.fence) == (ticket.id, ticket.fence + 1)
    assert state_of(services.store, ticket) is BatchState.CLAIMED


def test_a_process_that_drains_gives_the_batch_back_at_once(services, ticket):
    from workers.tasks.submit import _submit_batch

    assert services.gate.close_and_wait(0)
    _submit_batch(services, ticket.id, ticket.fence, TaskReport())
    assert state_of(services.store, ticket) is BatchState.PENDING


def test_a_ticket_that_is_old_gives_nothing_back(services, ticket):
    from workers.tasks.submit import _submit_batch

    services.gate.close_and_wait(0)
    _submit_batch(services, ticket.id, ticket.fence - 1, TaskReport())
    assert state_of(services.store, ticket) is BatchState.QUEUED


class Unreadable:
    """A store that goes away after the claim: nothing can be read."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    @contextmanager
    def read(self):
        raise StoreError("the store is away")
        yield


@pytest.mark.parametrize(
    ("batches", "words", "campaign"),
    [(1, "batch 1: the store is away", 1), (3, "batch 1 and 2 released with it: ", None)],
)
def test_an_error_is_logged_for_what_it_ends(services, caplog, batches, words, campaign):
    from workers.tasks.submit import _submit_batch

    store = services.store
    for number in range(batches):
        add_campaign(store, (1,), first=FIRST_NUMBER + 100 * number)
    ids = [*range(1, batches + 1)]
    with store.write() as conn:
        (first,) = mark_queued(conn, ids, store_now(conn), bundles=[ids])
    _submit_batch(replace(services, store=Unreadable(store)), first.id, first.fence, TaskReport())
    (record,) = (one for one in caplog.records if words in one.getMessage())
    assert (record.account, getattr(record, "campaign", None)) == ("main", campaign)
    assert BatchState.CLAIMED not in {row.state for row in rows(store, BATCH)}


@pytest.mark.parametrize(
    ("error", "within_s", "is_ending", "tries"),
    [
        (StoreError("away"), 0.0, False, 2),  # its time is over
        (StoreError("away"), 60.0, True, 1),  # the process is to end
        (StoreDataError("too large"), 60.0, False, 1),  # for ever
    ],
)
def test_patience_has_an_end(services, error, within_s, is_ending, tries):
    away = Away(services.store, error, 100)
    if is_ending:
        services.stopping.set()
    with pytest.raises(type(error)):
        write_patiently(replace(services, store=away), lambda _conn, _now: None, within_s=within_s)
    assert 100 - away.left <= tries


def test_what_is_written_patiently_need_not_survive_a_power_cut(services):
    """Nothing is attempted yet: losing it loses nothing, and commits for the disk take longer."""
    given = []

    class Recording:
        def write(self, **values):
            given.append(values)
            return services.store.write(**values)

    write_patiently(replace(services, store=Recording()), lambda _conn, _now: None, within_s=1)
    assert given == [{"survives_power_cut": False}]


def test_released_batches_go_back_although_the_store_is_busy(services, ticket):
    from workers.app import return_batches

    return_batches(
        replace(services, store=Away(services.store, StoreBusyError("busy"), 3)), [ticket]
    )
    assert state_of(services.store, ticket) is BatchState.PENDING


def test_a_ready_worker_rarely_looks_for_cycles_and_never_through_what_stays(services):
    """A batch of thousands of recipients makes tens of thousands of objects, none in a cycle."""
    from workers.app import look_rarely_for_cycles

    thresholds, kept = gc.get_threshold(), gc.get_freeze_count()
    try:
        look_rarely_for_cycles()
        assert gc.get_threshold()[0] >= 20_000
        assert gc.get_freeze_count() > kept
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize("beat_is_slow_by_s", [-120, 0, 30, 120])
def test_a_tick_of_a_beat_with_a_wrong_clock_is_not_dropped(beat_is_slow_by_s, services):
    from workers.app import app
    from workers.tasks.tick import tick_task

    options = app.conf.beat_schedule["tick"]["options"]
    expires = datetime.now(UTC) + timedelta(seconds=options["expires"] - beat_is_slow_by_s)
    headers = {"id": "1", "task": TICK, "expires": expires.isoformat()}
    message = SimpleNamespace(headers=headers, properties={}, delivery_info={})
    request = Request(
        message, app=app, task=tick_task, decoded=True, body=((), {}, {}), headers=headers
    )
    assert not request.maybe_expire()
