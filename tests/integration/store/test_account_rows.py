"""What happens to one account changes no other one; and which accounts are due for a probe."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from dispatcher.errors import ErrorKind
from dispatcher.policy.breaker import Breaker, Health
from dispatcher.policy.fair_queue import Unit
from dispatcher.store import accounts, health, stops
from dispatcher.store.health import ProbeTicket
from dispatcher.store.row_parts import CancelledAttempt
from dispatcher.store.tables import ACCOUNT
from tests.support.stores import LEASE, NOW, add_account, add_campaign, change, later, queued, rows

INSTANT = timedelta(microseconds=1)
OPEN = {"breaker": Breaker.OPEN, "breaker_reason": "HTTP 503", "breaker_at": NOW}
NO_CREDIT = {"paused_by": ErrorKind.CREDIT, "pause_reason": "no credit"}
BY_HAND = {"paused_by": "operator", "pause_reason": "by hand"}
UNSENT = CancelledAttempt(id=1, size=3, begun_at=NOW)
#: Accounts in every state that one can be in.
OTHERS = {
    "open": {},
    "broken": {**OPEN, "check_at": NOW, "checks": 3},
    "poor": {**NO_CREDIT, "check_at": NOW, "checks": 3},
    "paused": BY_HAND,
    "stopped": {"stopped_at": NOW, "stopped_by": "a"},
    "waits": {"not_before": later(60), "day_until": later(60), "day_count": 7, "turn": 5},
}


def account_of(store, name="main"):
    (row,) = rows(store, ACCOUNT, ACCOUNT.c.name == name)
    return row


def leased(conn):
    given = health.lease_due_probes(conn, ["main"], now=NOW, lease_until=NOW + LEASE)
    assert given == [ProbeTicket("main", 3)]


PAUSE = {"by": "operator", "reason": "mine"}
HAPPENINGS = [
    ({}, lambda conn, _: accounts.pause_account(conn, "main", now=NOW, **PAUSE), {
        "paused_by": "operator", "pause_reason": "mine", "changed_at": NOW}),
    (NO_CREDIT, lambda conn, _: accounts.pause_account(conn, "main", now=NOW, **PAUSE), {}),
    (BY_HAND, lambda conn, _: accounts.resume_account(conn, "main", actor="a", now=NOW), {
        "paused_by": None, "pause_reason": None, "changed_at": NOW}),
    ({}, lambda conn, _: accounts.resume_account(conn, "main", actor="a", now=NOW), {}),
    ({"not_before": NOW}, lambda conn, _: accounts.resume_account(
        conn, "main", actor="a", now=NOW), {}),
    ({"not_before": NOW + INSTANT}, lambda conn, _: accounts.resume_account(
        conn, "main", actor="a", now=NOW), {"not_before": None, "changed_at": NOW}),
    ({}, lambda conn, _: accounts.throttle_until(conn, "main", later(5)), {"not_before": later(5)}),
    ({"not_before": later(9)}, lambda conn, _: accounts.throttle_until(conn, "main", later(5)), {}),
    ({}, lambda conn, _: accounts.record_paid_until(conn, "main", {Unit.REQUESTS: 2.0}, NOW), {
        "requests_paid_until": later(2)}),
    ({"turn": 4}, lambda conn, _: accounts.advance_virtual_time(conn, "main", 9), {"turn": 9}),
    ({"turn": 9}, lambda conn, _: accounts.advance_virtual_time(conn, "main", 4), {}),
    ({}, lambda conn, row: accounts.count_today(conn, row, 3, later(9), NOW), {
        "day_until": later(9), "day_count": 3}),
    ({"day_until": NOW + INSTANT, "day_count": 4}, lambda conn, row: accounts.count_today(
        conn, row, 3, later(9), NOW), {"day_count": 7}),
    ({"day_until": NOW, "day_count": 4}, lambda conn, row: accounts.count_today(
        conn, row, 3, later(9), NOW), {"day_until": later(9), "day_count": 3}),
    ({"day_until": later(9), "day_count": 4}, lambda conn, row: accounts.uncount_today(
        conn, row, [UNSENT]), {"day_count": 1}),
    ({"day_until": later(23 * 3600), "day_count": 7}, lambda conn, row: accounts.uncount_today(
        conn, row, [UNSENT, UNSENT]), {"day_count": 1}),
    # It may have been counted in the day before.
    ({"day_until": later(23 * 3600) + INSTANT, "day_count": 4}, lambda conn, row:
        accounts.uncount_today(conn, row, [UNSENT]), {}),
    ({"day_until": later(23 * 3600) + INSTANT, "day_count": 7}, lambda conn, row:
        accounts.uncount_today(conn, row, [UNSENT, UNSENT._replace(begun_at=NOW + INSTANT)]), {
            "day_count": 4}),
    ({}, lambda conn, row: accounts.uncount_today(conn, row, [UNSENT]), {}),
    ({}, lambda conn, _: health.change_health(
        conn, "main", lambda _old: Health(failures=2), NOW), {"failures": 2}),
    ({"failures": 2}, lambda conn, _: health.change_health(
        conn, "main", lambda _old: Health(failures=2), NOW), {}),
    ({**NO_CREDIT, "check_at": later(7)}, lambda conn, _: health.change_health(
        conn, "main", lambda _old: Health(failures=2, check_at=later(9)), NOW), {"failures": 2}),
    ({**OPEN, "check_at": NOW, "checks": 3}, lambda conn, _: leased(conn), {
        "check_lease_until": NOW + LEASE}),
    ({**OPEN, "check_at": NOW}, health.mark_reachable, {
        "breaker": Breaker.TRIAL, "check_at": None}),
    ({"check_at": NOW}, health.mark_reachable, {}),
    ({**OPEN, "checks": 1}, lambda conn, row: health.mark_unreachable(
        conn, row, "away", now=NOW, random=lambda: 0.5), {
        "breaker_reason": "away", "checks": 2, "check_at": ...}),
    (NO_CREDIT, lambda conn, _: health.schedule_credit_check(conn, "main", 60, NOW), {
        "checks": 1, "check_at": ...}),
    (BY_HAND, lambda conn, _: health.schedule_credit_check(conn, "main", 60, NOW), {}),
    ({**NO_CREDIT, "check_at": later(9)}, lambda conn, row: health.mark_credit_restored(
        conn, row, "topped up", NOW), {
        "paused_by": None, "pause_reason": None, "changed_at": NOW, "check_at": None}),
    ({**NO_CREDIT, **OPEN, "check_at": later(9)}, lambda conn, row: health.mark_credit_restored(
        conn, row, "topped up", NOW), {
        "paused_by": None, "pause_reason": None, "changed_at": NOW, "check_at": NOW}),
    (BY_HAND, lambda conn, row: health.mark_credit_restored(conn, row, "topped up", NOW), {}),
    ({}, lambda conn, _: stops.stop_accounts(conn, ["main"], actor="b", reason="r", now=NOW), {
        "stopped_at": NOW, "stopped_by": "b", "stop_reason": "r"}),
    ({"stopped_at": NOW, "stopped_by": "b"}, lambda conn, _: stops.start_accounts(
        conn, ["main"], actor="b", now=NOW), {"stopped_at": None, "stopped_by": None}),
]  # fmt: skip


@pytest.mark.parametrize(("values", "happen", "changes"), HAPPENINGS)
def test_what_happens_to_an_account_changes_just_that_and_no_other(
    sqlite_store, values, happen, changes
):
    for name, given in {**OTHERS, "main": values}.items():
        add_account(sqlite_store, name, **given)
    before, others = account_of(sqlite_store), rows(sqlite_store, ACCOUNT, ACCOUNT.c.name != "main")
    with sqlite_store.write() as conn:
        happen(conn, accounts.find_account(conn, "main"))
    after = account_of(sqlite_store)
    changed = {name: new for name, new in after._mapping.items() if new != before._mapping[name]}
    assert changed.keys() == changes.keys()
    assert all(changes[name] in {..., new} for name, new in changed.items())
    assert rows(sqlite_store, ACCOUNT, ACCOUNT.c.name != "main") == others


@pytest.mark.parametrize(
    ("values", "is_due"),
    [
        (OPEN, True),
        (NO_CREDIT, True),
        ({**NO_CREDIT, **OPEN}, True),
        ({**OPEN, "breaker": Breaker.TRIAL}, False),
        ({**OPEN, **BY_HAND}, False),
        (BY_HAND, False),
        ({}, False),
        ({**OPEN, "check_at": NOW + INSTANT}, False),
        ({**OPEN, "check_at": None}, False),
        ({**OPEN, "check_lease_until": NOW}, True),
        ({**OPEN, "check_lease_until": NOW + INSTANT}, False),
    ],
)
def test_a_probe_is_due_at_its_time_where_one_may_help(sqlite_store, values, is_due):
    add_account(sqlite_store, **({"check_at": NOW, "checks": 4} | values))
    with sqlite_store.write() as conn:
        assert health.due_probes(conn, NOW) == ["main"] * is_due
        given = health.lease_due_probes(conn, ["main"], now=NOW, lease_until=NOW + LEASE)
        assert given == [ProbeTicket("main", 4)] * is_due


@pytest.mark.parametrize(
    ("values", "number", "is_mine"),
    [
        ({"check_lease_until": later(9)}, 4, True),
        ({"check_lease_until": later(9)}, 3, False),
        ({}, 4, False),
    ],
)
def test_only_the_newest_ticket_locks_the_account_for_its_probe(
    sqlite_store, values, number, is_mine
):
    add_account(sqlite_store, checks=4, **values)
    with sqlite_store.write() as conn:
        found = health.lock_for_probe(conn, ProbeTicket("main", number))
        assert (found is not None) is is_mine
        assert health.lock_for_probe(conn, ProbeTicket("unknown", number)) is None


def test_an_account_that_is_not_in_the_store_has_no_health(sqlite_store):
    with sqlite_store.write() as conn:
        assert health.change_health(conn, "main", lambda _old: Health(failures=1), NOW) is None
        health.schedule_credit_check(conn, "main", 60, NOW)
    assert rows(sqlite_store, ACCOUNT) == []


def test_only_accounts_with_nothing_in_flight_are_probed(sqlite_store):
    for name in ("main", "other", "gone"):
        add_account(sqlite_store, name, **OPEN, check_at=NOW)
    add_campaign(sqlite_store)
    queued(sqlite_store)
    with sqlite_store.write() as conn:
        found = health.lease_due_probes(conn, ["main", "other"], now=NOW, lease_until=NOW + LEASE)
        assert [ticket.account for ticket in found] == ["other"]
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", check_at=later(5))
        assert health.due_probes(conn, NOW) == ["gone"]


class Meanwhile:
    """Names of accounts. Whoever asks for one finds that another process was faster."""

    def __init__(self, happen):
        self._happen = happen

    def __contains__(self, name):
        self._happen()
        return True


def test_a_probe_that_another_process_has_just_taken_is_not_taken_too(sqlite_store):
    add_account(sqlite_store, **OPEN, check_at=NOW)
    with sqlite_store.write() as conn:
        taken = {"check_lease_until": later(9)}
        names = Meanwhile(lambda: change(conn, ACCOUNT, ACCOUNT.c.name == "main", **taken))
        assert health.lease_due_probes(conn, names, now=NOW, lease_until=NOW + LEASE) == []
    assert account_of(sqlite_store).check_lease_until == later(9)


def test_an_account_that_is_removed_meanwhile_has_no_health(sqlite_store):
    add_account(sqlite_store)
    with sqlite_store.write() as conn:

        def decide(_old):
            conn.execute(ACCOUNT.delete())
            return Health(failures=1)

        assert health.change_health(conn, "main", decide, NOW) is None


def test_opening_and_closing_of_a_breaker_is_said_with_its_reason(sqlite_store, caplog):
    add_account(sqlite_store)
    opened = Health(failures=1, breaker=Breaker.OPEN, reason="HTTP 503", since=NOW)
    with sqlite_store.write() as conn:
        for new in (opened, Health()):
            health.change_health(conn, "main", lambda _old, new=new: new, NOW)
    assert caplog.messages == [
        "account main: breaker opened: HTTP 503", "account main: breaker closed",
    ]  # fmt: skip


def test_where_every_account_is_known_nothing_is_locked(store):
    add_account(store)
    seen = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    with store.write() as conn:
        seen.clear()
        accounts.create_missing_accounts(conn, ["main"])
        assert [statement.split()[0] for statement in seen] == ["SELECT"]
        accounts.create_missing_accounts(conn, ["main", "other"])
    assert {row.name for row in rows(store, ACCOUNT)} == {"main", "other"}
