"""Statements at their edges: a moment that is just due, a row that changes before its lock."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from dispatcher.errors import StoreBusyError
from dispatcher.status import AttemptOutcome, BatchState, CampaignState
from dispatcher.store import (
    accounts,
    attempts,
    batch_endings,
    campaign_settings,
    campaigns,
    due_work,
    erased_numbers,
    fallback_moves,
    imports,
    suppressions,
)
from dispatcher.store.locks import lock_campaigns
from dispatcher.store.settlement import Settlement, apply_settlements
from dispatcher.store.tables import (
    ATTEMPT,
    BATCH,
    CAMPAIGN,
    MESSAGE,
)
from tests.support.stores import (
    LEASE,
    NOW,
    add_account,
    add_attempt,
    add_campaign,
    batch_of,
    change,
    claim,
    close,
    interrupt,
    later,
    queued,
    rows,
    settle,
    start_import,
    states,
    submitting,
    verdict,
)


@pytest.mark.parametrize(
    ("content_key", "idempotency_key", "is_found"),
    [
        ("content", None, True),
        ("content", "other", True),
        ("another", "key", True),
        ("another", "other", False),
        ("another", None, False),
    ],
)
@pytest.mark.parametrize("state", [CampaignState.IMPORTING, CampaignState.SCHEDULED])
def test_an_import_is_found_again_by_its_content_or_its_key_until_it_is_accepted(
    sqlite_store, content_key, idempotency_key, is_found, state
):
    add_account(sqlite_store)
    with sqlite_store.write() as conn:
        start_import(conn, content_key="third", idempotency_key="third")
        mine = start_import(conn, idempotency_key="key").campaign_id
        change(conn, CAMPAIGN, CAMPAIGN.c.id == mine, state=state)
        found = imports.find_unfinished(conn, content_key, idempotency_key)
    is_found = is_found and state is CampaignState.IMPORTING
    assert (None if found is None else found.id) == (mine if is_found else None)


def test_an_import_is_discarded_in_groups_and_nothing_of_another_one(sqlite_store, monkeypatch):
    monkeypatch.setattr(imports, "_DISCARD_GROUP", 2)
    other = add_campaign(sqlite_store, [1])
    mine = add_campaign(sqlite_store, [2, 3], state=CampaignState.IMPORTING, import_fence=1)
    running = imports.RunningImport(mine, "main", 1)
    left = []
    with sqlite_store.write() as conn:
        while not imports.discard_group(conn, running, later(60)):
            tables = (MESSAGE, BATCH)
            left.append(
                [
                    len(conn.execute(select(each).where(each.c.campaign_id == mine)).all())
                    for each in tables
                ]
            )
    assert left == [[3, 2], [1, 2], [0, 2], [0, 0]]
    assert [row.id for row in rows(sqlite_store, CAMPAIGN)] == [other]
    assert len(rows(sqlite_store, MESSAGE)) == len(rows(sqlite_store, BATCH)) == 1


def test_what_is_due_of_a_campaign(sqlite_store):
    add_account(sqlite_store, "backup")
    other = add_campaign(sqlite_store, [1], first=919_900_000_000, state=CampaignState.PAUSED)
    mine = add_campaign(sqlite_store, [1])
    for table, values, is_due, is_listed, waits in (
        (CAMPAIGN, {"state": CampaignState.RUNNING}, True, True, True),
        (CAMPAIGN, {"state": CampaignState.PAUSED}, False, False, False),
        (CAMPAIGN, {"finished_at": NOW}, False, False, False),
        (CAMPAIGN, {"recheck_at": NOW}, False, True, False),
        (BATCH, {"not_before": NOW}, True, True, True),
        (BATCH, {"not_before": later(1)}, False, False, False),
        (BATCH, {"account": "backup"}, False, False, False),
        (BATCH, {"state": BatchState.QUEUED}, False, False, True),
        (BATCH, {"state": BatchState.CLAIMED}, False, False, False),
        (BATCH, {"state": BatchState.SETTLED}, False, False, False),
    ):
        with sqlite_store.write() as conn, conn.begin_nested() as case:
            change(conn, table, key_of(table) == mine, **values)
            due = [each.id for each in due_work.due_campaigns(conn, "main", NOW)]
            at_open = [each.id for each in due_work.due_at_open_accounts(conn, NOW)]
            waits_for = due_work.sum_waiting(conn, NOW)
            waiting = due_work.accounts_with_waiting(conn, NOW)
            assert other not in due_work.first_due_batches(conn, [mine], NOW)
            assert (due, at_open) == ([mine] * is_due, [mine] * is_due), values
            assert [each.pending for each in waits_for] == [1] * is_listed, values
            assert waiting == ({"main"} if waits else set()), values
            case.rollback()


def test_which_campaigns_may_move_and_which_have_moved_in_part(sqlite_store):
    """Beside one that has no fallback, with a batch at another account."""
    add_account(sqlite_store, "backup")
    other = add_campaign(sqlite_store, [1], first=919_900_000_000)
    mine = add_campaign(sqlite_store, [1], routes="[]")
    for table, values, has_fallback, is_split in (
        (CAMPAIGN, {"state": CampaignState.RUNNING}, True, False),
        (CAMPAIGN, {"account": "backup"}, True, True),
        (CAMPAIGN, {"account": "backup", "state": CampaignState.PAUSED}, False, False),
        (CAMPAIGN, {"account": "backup", "finished_at": NOW}, False, False),
        (CAMPAIGN, {"account": "backup", "routes": None}, False, False),
        (BATCH, {"account": "backup"}, True, True),
        (BATCH, {"account": "backup", "state": BatchState.QUEUED}, True, True),
        (BATCH, {"account": "backup", "state": BatchState.CLAIMED}, False, False),
        (BATCH, {"account": "backup", "state": BatchState.SETTLED}, False, False),
    ):
        with sqlite_store.write() as conn, conn.begin_nested() as case:
            change(conn, BATCH, BATCH.c.campaign_id == other, account="backup")
            change(conn, table, key_of(table) == mine, **values)
            found = [each.id for each in fallback_moves.list_with_fallback(conn)]
            split = fallback_moves.list_split(conn)
            expected = [mine] * has_fallback, {mine} if is_split else set()
            assert (found, split) == expected, values
            case.rollback()


def key_of(table):
    """The column with the campaign's id."""
    return table.c.id if table is CAMPAIGN else table.c.campaign_id


@pytest.mark.parametrize(
    ("recheck_at", "after"), [(None, None), (later(-1), later(-1)), (NOW, NOW), (later(1), NOW)]
)
def test_what_may_be_sent_earlier_now_is_checked_at_once(sqlite_store, recheck_at, after):
    mine, other = (add_campaign(sqlite_store, [1], first=10**9 * n) for n in (1, 2))
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == mine, recheck_at=recheck_at)
        change(conn, CAMPAIGN, CAMPAIGN.c.id == other, recheck_at=later(9))
        campaign_settings.change_settings(
            conn, mine, {"priority": 3}, deadline_after=LEASE, actor="a", now=NOW
        )
        found = [campaigns.load_campaign(conn, each).recheck_at for each in (mine, other)]
    assert found == [after, later(9)]


@pytest.mark.parametrize(("old", "planned_s"), [(9.0, 31), (None, None)])
def test_a_new_rate_counts_from_the_last_request_without_an_answer(sqlite_store, old, planned_s):
    mine = add_campaign(sqlite_store, [2], rate=old, paid_until=NOW)
    held, (one, two) = submitting(sqlite_store, [[0], [1]])
    settle(sqlite_store, held, two, verdict(accepted=[1]))
    with sqlite_store.write() as conn:
        for attempt, seconds in ((one, 130), (two, 190)):
            change(conn, ATTEMPT, ATTEMPT.c.id == attempt, deadline=later(seconds))
        campaign_settings.change_settings(
            conn, mine, {"rate": 1.0}, deadline_after=later(100) - NOW, actor="a", now=NOW
        )
        found = campaigns.load_campaign(conn, mine).paid_until
    assert found == (None if planned_s is None else later(planned_s))


def test_what_changes_before_its_lock_is_not_taken_for_what_was_found(sqlite_store):
    one, two = (add_campaign(sqlite_store, [1], first=10**9 * n) for n in (1, 2))
    named = CAMPAIGN.c.name == "wanted"
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id.in_([one, two]), name="wanted")
        is_one = CAMPAIGN.c.id == one
        interrupt(conn, "SELECT campaign.id", lambda: change(conn, CAMPAIGN, is_one, name="x"))
        assert lock_campaigns(conn, named) == [two]


def test_a_lease_that_runs_out_while_an_answer_is_stored_lets_it_be_stored_anew(sqlite_store):
    add_campaign(sqlite_store, [2])
    held, (one, two) = submitting(sqlite_store, [[0], [1]])
    given = [
        Settlement(claim=held, attempt_id=one, verdict=verdict(accepted=[0])),
        Settlement(claim=held, attempt_id=two, verdict=verdict(accepted=[1])),
    ]

    def store_while_it_runs_out(said):
        with sqlite_store.write() as conn:
            is_its, taken = BATCH.c.id == held.id, {"fence": held.fence + 1}
            words = "SELECT batch.fence, batch.state"
            interrupt(conn, words, lambda: change(conn, BATCH, is_its, **taken))
            apply_settlements(conn, said, NOW)

    for said in (given, given[:1]):
        with pytest.raises(StoreBusyError):
            store_while_it_runs_out(said)
    with sqlite_store.write() as conn:
        apply_settlements(conn, [], NOW)
        apply_settlements(conn, given, NOW)
    assert states(sqlite_store) == ["submitted"] * 2


@pytest.mark.parametrize(
    ("listed", "erased", "flags"),
    [
        (False, False, (False, False)),
        (True, False, (True, False)),
        (False, True, (True, True)),
        (True, True, (True, True)),
    ],
)
def test_a_begin_knows_whether_anybody_must_not_be_texted(sqlite_store, listed, erased, flags):
    add_campaign(sqlite_store, [1])
    held = claim(sqlite_store, queued(sqlite_store)[0])
    with sqlite_store.write() as conn:
        if listed:
            origin = suppressions.SuppressionOrigin(None, "cli", "a")
            suppressions.add_numbers(conn, [1], "other", origin, NOW)
        if erased:
            erased_numbers.add_erased(conn, 2, actor="a", now=NOW)
        found = attempts.lock_for_begin(conn, held)
    assert (found.has_suppressions, found.has_erased) == flags


def test_only_the_newest_requests_of_all_accounts_are_looked_through(sqlite_store, monkeypatch):
    monkeypatch.setattr(attempts, "_NEWEST", 1)
    with sqlite_store.write() as conn:
        add_attempt(conn)
        assert attempts.has_begun_since(conn, "main", NOW)
        add_attempt(conn, account="other")
        assert not attempts.has_begun_since(conn, "main", NOW)


@pytest.mark.parametrize(
    ("values", "is_known"),
    [({}, True), ({"fence": 1}, True), ({"fence": 99}, False), ({"id": 99}, False)],
)
def test_a_claim_is_known_by_its_batch_and_a_fence_that_was_reached(sqlite_store, values, is_known):
    add_campaign(sqlite_store, [1])
    held = claim(sqlite_store, queued(sqlite_store)[0])
    with sqlite_store.read() as conn:
        assert batch_endings.is_known_claim(conn, replace(held, **values)) is is_known


def test_a_request_that_has_an_answer_is_not_taken_back(sqlite_store):
    add_campaign(sqlite_store, [2])
    held, (one, two) = submitting(sqlite_store, [[0], [1]])
    settle(sqlite_store, held, one, verdict(outcome=AttemptOutcome.REFUSED))
    with sqlite_store.write() as conn:
        for attempt in (one, two):
            batch_endings.cancel_attempts(conn, held, [attempt], NOW)
    assert [message.attempts for message in rows(sqlite_store, MESSAGE)] == [1, 0]
    outcomes = [row.outcome for row in rows(sqlite_store, ATTEMPT)]
    assert outcomes == [AttemptOutcome.REFUSED, AttemptOutcome.NOT_SENT]
    # What was not sent has not failed either.
    assert close(sqlite_store, held, failed_after=1, error="away") is BatchState.PENDING
    assert states(sqlite_store) == ["failed", "pending"]


@pytest.mark.parametrize(("tried", "tries"), [([[0, 1]], 1), ([[0]], 0)])
def test_the_tries_of_a_batch_begin_anew_for_what_was_not_tried(sqlite_store, tried, tries):
    add_campaign(sqlite_store, [2])
    held, (attempt,) = submitting(sqlite_store, tried)
    settle(sqlite_store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
    close(sqlite_store, held, failed_after=1, error="away")
    assert batch_of(sqlite_store, held.id).tries == tries


@pytest.mark.parametrize(
    ("limit", "until_s", "left"),
    [(None, 9, None), (None, None, None), (5, 9, 2), (3, 9, 0), (2, 9, 0), (5, 0, 5), (5, None, 5)],
)
def test_what_is_left_of_a_day_counts_down_to_nothing(limit, until_s, left):
    until = None if until_s is None else later(until_s)
    account = SimpleNamespace(day_until=until, day_count=3)
    assert accounts.messages_left_today(account, limit, NOW) == left


def test_an_answer_after_its_lease_is_not_its_claims(sqlite_store):
    add_campaign(sqlite_store, [1])
    held, (attempt,) = submitting(sqlite_store)
    late = replace(held, fence=held.fence - 1)
    assert not settle(sqlite_store, late, attempt, verdict(accepted=[0])).owned
    assert settle(sqlite_store, held, attempt, verdict(accepted=[0])).owned
