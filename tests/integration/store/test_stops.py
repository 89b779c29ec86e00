"""Stops: nothing begins at a stopped account, and what was paused before stays paused."""

import pytest

from dispatcher.errors import ErrorKind
from dispatcher.outbound.fallback import find_campaigns_to_move
from dispatcher.outbound.release import find_releasable_accounts, release_batches
from dispatcher.status import BatchState
from dispatcher.store import accounts, health, stops
from dispatcher.store.tables import ACCOUNT, AUDIT, GENERAL_STOP
from tests.support.stores import (
    NOW,
    add_account,
    add_campaign,
    audit,
    batch_of,
    begin,
    claimed,
    later,
    rows,
    settings,
    submitting,
)

ASHA = "asha@mail1"


def stop(store, *names, reason=None, at=NOW, actor=ASHA):
    with store.write() as conn:
        return stops.stop_accounts(conn, names or None, actor=actor, reason=reason, now=at)


def go(store, *names, at=NOW):
    with store.write() as conn:
        done = stops.start_accounts(conn, names or None, actor=ASHA, now=at)
    return [each.name for each in done]


def stopped(store):
    with store.read() as conn:
        return [each.name for each in stops.list_stopped(conn)]


def general(store):
    with store.read() as conn:
        return stops.find_general_stop(conn)


def release(store):
    with store.write() as conn:
        return release_batches(conn, "main", settings(), NOW)


def releasable(store):
    with store.read() as conn:
        return find_releasable_accounts(conn, {"main": settings()}, NOW)


@pytest.mark.parametrize("names", [(), ("main",)])
def test_nothing_is_released_until_it_goes_on(store, names):
    add_campaign(store)
    assert releasable(store) == {"main"}
    assert stop(store, *names, reason="wrong text") == ["main"]
    assert (releasable(store), release(store)) == (set(), [])
    assert go(store, *names) == ["main"]
    assert releasable(store) == {"main"}
    assert len(release(store)) == 1
    assert audit(store) == ["stop", "go"]


def test_only_those_that_were_not_stopped_before_are_told(sqlite_store):
    for name in ("main", "other", "third"):
        add_account(sqlite_store, name)
    assert stop(sqlite_store, "main") == ["main"]
    assert stop(sqlite_store, "main", "third") == ["third"]
    assert stop(sqlite_store, "main") == []
    assert audit(sqlite_store) == ["stop", "stop"]
    assert stop(sqlite_store) == ["other"]


def test_a_batch_that_was_claimed_before_the_stop_does_not_begin(store):
    add_campaign(store)
    held = claimed(store)
    stop(store)
    assert begin(store, held) is None
    assert batch_of(store, held.id).state == BatchState.PENDING


def test_a_second_stop_keeps_who_was_first_and_adds_what_is_open(store):
    add_account(store, "main")
    stop(store, reason="first", at=NOW)
    add_account(store, "other", stopped_at=None, stopped_by=None)
    assert stop(store, reason="second", at=later(60), actor="ravi@mail2") == ["other"]
    assert general(store) == (NOW, ASHA, "first")
    assert [(row.name, row.stopped_by) for row in rows(store, ACCOUNT)] == [
        ("main", ASHA), ("other", "ravi@mail2"),
    ]  # fmt: skip
    assert stop(store) == []
    assert audit(store) == ["stop", "stop"]


@pytest.mark.parametrize("names", [[], ["main"]])
def test_a_stop_of_everything_is_on_record_although_it_stops_no_further_account(store, names):
    for name in names:
        add_account(store, name)
        stop(store, name)
    assert stop(store, reason="night") == []
    assert audit(store) == [*(["stop"] * len(names)), "stop"]
    assert rows(store, AUDIT)[-1].detail == "0 accounts: night"
    assert go(store) == names
    assert rows(store, AUDIT)[-1].detail == f"{len(names)} account{'' if names else 's'}"


def test_an_account_that_is_configured_during_a_stop_of_everything_is_stopped(store):
    stop(store, reason="night")
    add_account(store, "new")
    (row,) = rows(store, ACCOUNT)
    assert (row.stopped_at, row.stopped_by, row.stop_reason) == (NOW, ASHA, "night")
    go(store)
    add_account(store, "newer")
    assert stopped(store) == []


def test_accounts_go_on_one_by_one_while_the_rest_and_new_ones_stay_stopped(store):
    for name in ("main", "other"):
        add_account(store, name)
    stop(store)
    assert go(store, "main") == ["main"]
    add_account(store, "new")
    assert (stopped(store), general(store) is not None) == (["new", "other"], True)
    assert go(store) == ["new", "other"]
    assert (stopped(store), rows(store, GENERAL_STOP)) == ([], [])
    assert go(store) == []
    assert audit(store) == ["stop", "go", "go"]


def test_a_pause_stays_and_one_that_ends_by_itself_does_not_end_the_stop(store):
    add_account(store, "main", paused_by=ErrorKind.CREDIT, pause_reason="no credit")
    stop(store)
    with store.write() as conn:
        row = accounts.find_account(conn, "main")
        assert row.is_closed
        health.mark_credit_restored(conn, row, "topped up", NOW)
    add_campaign(store)
    assert release(store) == []
    (row,) = rows(store, ACCOUNT)
    assert (row.paused_by, row.stopped_at) == (None, NOW)
    with store.write() as conn:
        accounts.pause_account(conn, "main", by="operator", reason="mine", actor=ASHA, now=NOW)
    go(store)
    (row,) = rows(store, ACCOUNT)
    assert (row.paused_by, row.stopped_at) == ("operator", None)
    assert release(store) == []


def test_a_stop_moves_no_campaign_to_its_fallback_account(store):
    from dispatcher.policy.routes import AccountRoute, routes_to_json
    from dispatcher.types import Route

    routes = [AccountRoute(name, Route(sender="S")) for name in ("main", "other")]
    add_account(store, "other")
    add_campaign(store, routes=routes_to_json(routes))
    stop(store, "main")
    with store.write() as conn:
        # An answer to a request that was under way says so.
        accounts.pause_account(conn, "main", by="credit", reason="no credit", now=NOW)
    with store.read() as conn:
        configured = {"main": settings(), "other": settings()}
        assert find_campaigns_to_move(conn, configured, later(3600)) == []
    go(store)
    with store.read() as conn:
        assert len(find_campaigns_to_move(conn, configured, later(3600))) == 1


def test_what_is_at_the_providers_is_counted_until_its_deadline(store):
    add_campaign(store, [3, 2])
    submitting(store, [[0], [1, 2]])
    add_campaign(store, account="other", first=1)
    stop(store)
    with store.read() as conn:
        assert stops.list_at_providers(conn, None) == [("main", 2, 3, later(75))]
        assert stops.list_at_providers(conn, ["other"]) == []
