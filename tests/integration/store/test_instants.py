"""What becomes due at an instant is due from that very instant on; what ends then has ended."""

import pytest

from dispatcher.outbound.release import release_batches
from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store import (
    attempts,
    batches,
    campaigns,
    doubts,
    lost_batches,
    scheduler,
    store_adoption,
)
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN
from tests.support.stores import (
    NOW,
    add_attempt,
    add_campaign,
    begin,
    change,
    claimed,
    later,
    settings,
)

#: The instant.
AT = later(600)


def of_campaign(store, *, state="running", **values):
    """A campaign with one batch, and these values in its row."""
    return add_campaign(store, [1], state=state, **values)


def of_account(store, **values):
    """A campaign whose account has these values."""
    add_campaign(store, [1])
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **values)


def started(store, now):
    of_campaign(store, state="scheduled", start_at=AT)
    with store.write() as conn:
        return campaigns.start_due(conn, now)


def lapsed(store, now):
    of_campaign(store, expire_at=AT)
    with store.write() as conn:
        return campaigns.lapse_expired(conn, now)


def finished(store, now):
    """A paused campaign is over once it expires."""
    made = of_campaign(store, state="paused", expire_at=AT)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == made, state=BatchState.SETTLED, pending=0)
        return campaigns.finish_campaigns(conn, now)


def due(store, now):
    made = of_campaign(store)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == made, not_before=AT)
        return list(batches.due_batches(conn, made, now, 9))


def begun(store, now):
    of_account(store, not_before=AT)
    return begin(store, claimed(store, now=now), now=now)


def released(store, now):
    of_account(store, not_before=AT)
    with store.write() as conn:
        return release_batches(conn, "main", settings(), now)


def probed(store, now):
    of_account(store, breaker="trial", failures=3, breaker_at=NOW, check_at=AT)
    with store.write() as conn:
        return release_batches(conn, "main", settings(), now)


def reconciled(store, now):
    add_campaign(store, [1])
    with store.write() as conn:
        add_attempt(
            conn, size=1, outcome=AttemptOutcome.DOUBTFUL, doubt_at=NOW, reconcile_at=AT,
            looks=0, fence=1,
        )  # fmt: skip
        return doubts.due_doubts(conn, "main", now)


def looked_again(store, now):
    """Another worker reads the account's list until then."""
    of_account(store, look_lease_until=AT)
    with store.write() as conn:
        add_attempt(
            conn, size=1, outcome=AttemptOutcome.DOUBTFUL, doubt_at=NOW, reconcile_at=NOW,
            looks=0, fence=1,
        )  # fmt: skip
        return doubts.lease_reconciliations(
            conn, ["main"], now=now, lease_until=later(900), limit=1
        )


def maybe_sent(store, now):
    """A campaign whose start has come may have been sent after a backup."""
    of_campaign(store, state="scheduled", start_at=AT)
    with store.read() as conn:
        return store_adoption.pending_by_campaign(conn, now)


@pytest.mark.parametrize(
    "ask",
    [
        started, lapsed, finished, due, begun, released, probed, reconciled, looked_again,
        maybe_sent,
    ],
    ids=lambda ask: ask.__name__,
)  # fmt: skip
@pytest.mark.parametrize(("seconds", "is_due"), [(599, False), (600, True)])
def test_it_is_due_at_its_instant_and_not_before(sqlite_store, ask, seconds, is_due):
    assert bool(ask(sqlite_store, later(seconds))) is is_due


def lost(store, now):
    held = claimed(store)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id == held.id, lease_until=AT)
        return lost_batches.release_expired_claims(conn, now)


def lost_in_doubt(store, now):
    held = claimed(store)
    begin(store, held)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id == held.id, lease_until=AT)
        return lost_batches.doubt_expired_submissions(conn, now)


def gone_for_a_day(store, now):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "old", 1, later(600 - 86_400))
        scheduler.deregister_worker(conn, "other", now)
        return not scheduler.list_workers(conn, later(-90_000))


def unseen(store, now):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "old", 1, AT)
        return not scheduler.list_workers(conn, now)


def begun_before(store, now):
    begin(store, claimed(store))
    with store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.id == 1, begun_at=AT)
        return not attempts.has_begun_since(conn, "main", now)


@pytest.mark.parametrize(
    "ask", [lost, lost_in_doubt, gone_for_a_day, unseen, begun_before], ids=lambda ask: ask.__name__
)
@pytest.mark.parametrize(("seconds", "is_over"), [(600, False), (601, True)])
def test_it_holds_up_to_its_instant(sqlite_store, ask, seconds, is_over):
    add_campaign(sqlite_store, [1])
    assert bool(ask(sqlite_store, later(seconds))) is is_over


def test_a_campaign_that_starts_at_this_very_instant_is_not_paused_by_an_adoption(sqlite_store):
    """What of it is pending is in doubt, as of a campaign that runs."""
    made = of_campaign(sqlite_store, state="scheduled", start_at=AT)
    with sqlite_store.write() as conn:
        assert store_adoption.adopt_store(conn, doubt=True, actor="operator", now=AT) == {made: 1}
        assert campaigns.load_campaign(conn, made).state == "scheduled"
        change(conn, CAMPAIGN, CAMPAIGN.c.id == made, start_at=later(601))
        store_adoption.adopt_store(conn, doubt=True, actor="operator", now=AT)
        assert campaigns.load_campaign(conn, made).state == "paused"
