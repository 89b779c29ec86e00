"""The suppression list: who is on it when a request begins does not get it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import AttemptOutcome, BatchState, MessageState
from dispatcher.store import attempts, suppressions
from dispatcher.store.engine import Store
from dispatcher.store.suppressions import ANY_ACCOUNT, LISTED, SuppressionOrigin
from dispatcher.store.tables import ATTEMPT, MESSAGE, SUPPRESSION
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    batch_of,
    begin,
    change,
    claimed,
    close,
    counts_of,
    later,
    rows,
    settle,
    states,
    verdict,
)

ORIGIN = SuppressionOrigin("asked for it", "cli", "asha@mail1")


def add(store, *places, account=ANY_ACCOUNT, now=NOW):
    """Put the numbers of these seqs on the list; how many are new."""
    numbers = [FIRST_NUMBER + place for place in places]
    with store.write() as conn:
        suppressions.wait_for_begins(conn, account)
        return suppressions.add_numbers(conn, numbers, account, ORIGIN, now)


def listed(store, account):
    with store.read() as conn:
        return [n - FIRST_NUMBER for n in suppressions.next_numbers(conn, account, 0)]


# --- At begin ---------------------------------------------------------------------------------


def test_who_came_onto_the_list_is_suppressed_and_the_others_begin_anew(store):
    campaign = add_campaign(store, [4])
    held = claimed(store)
    add(store, 1, 3, 99)
    assert begin(store, held, now=later(1)) is None
    assert states(store) == ["pending", "suppressed", "pending", "suppressed"]
    assert counts_of(store, campaign) == {"pending": 2, "suppressed": 2}
    assert batch_of(store, held.id).state == BatchState.PENDING
    assert rows(store, ATTEMPT) == []
    one = rows(store, MESSAGE)[1]
    assert (one.final_at, one.error, one.attempts) == (later(1), LISTED, 0)
    held = claimed(store)
    (attempt,) = begin(store, held, [[0, 2]])
    settle(store, held, attempt, verdict(accepted=[0, 2]))
    assert close(store, held) is BatchState.SETTLED


def test_a_batch_of_which_all_are_on_the_list_is_settled(store):
    add_campaign(store, [2])
    held = claimed(store)
    add(store, 0, 1)
    assert begin(store, held) is None
    assert batch_of(store, held.id).state == BatchState.SETTLED


@pytest.mark.parametrize(
    ("account", "becomes"),
    [(ANY_ACCOUNT, "suppressed"), ("main", "suppressed"), ("other", "pending")],
)
def test_the_list_of_another_account_does_not_count(store, account, becomes):
    add_campaign(store, [1])
    held = claimed(store)
    add(store, 0, account=account)
    begun = begin(store, held)
    assert (begun is None) == (becomes == "suppressed")
    assert states(store) == [becomes]


def test_later_requests_of_a_turn_look_again_and_what_is_under_way_stays(store):
    campaign = add_campaign(store, [4])
    held = claimed(store)
    first, second = begin(store, held, [[0], [1]])
    add(store, 0, 2)
    assert begin(store, held, [[2]], is_first=False) is None
    # 0 is under way: its answer says what became of it.
    assert states(store) == ["pending", "pending", "suppressed", "pending"]
    assert batch_of(store, held.id).state == BatchState.SUBMITTING
    settle(store, held, first, verdict(accepted=[0]))
    settle(store, held, second, verdict(accepted=[1]))
    assert close(store, held) is BatchState.PENDING
    assert counts_of(store, campaign) == {
        "pending": 1, "submitted": 2, "suppressed": 1,
    }  # fmt: skip


def test_only_the_requests_that_begin_are_looked_up(store):
    add_campaign(store, [4])
    held = claimed(store)
    add(store, 3)
    assert begin(store, held, [[0], [1, 2]]) is not None
    assert begin(store, held, [[3]], is_first=False) is None
    assert states(store) == ["pending", "pending", "pending", "suppressed"]


def test_a_listed_number_under_way_between_others_does_not_hold_them_back(store):
    add_campaign(store, [3])
    held = claimed(store)
    begin(store, held, [[1]])
    add(store, 1)
    assert begin(store, held, [[0, 2]], is_first=False) is not None
    assert states(store) == ["pending"] * 3


def test_what_a_late_answer_says_is_worth_more(store):
    campaign = add_campaign(store, [2])
    held = claimed(store)
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 0, note=int(DoubtNote.ACCEPTED_LATE))
    add(store, 0, 1)
    assert begin(store, held) is None
    assert states(store) == ["submitted", "suppressed"]
    assert counts_of(store, campaign) == {"submitted": 1, "suppressed": 1, "no_receipt": 1}


def test_who_is_in_doubt_stays_so_until_that_is_settled(store):
    """An earlier request of the batch left it in doubt: what became of it comes first."""
    campaign = add_campaign(store, [3])
    held = claimed(store)
    first, second = begin(store, held, [[0], [1, 2]])
    settle(store, held, first, verdict(doubtful=[0], outcome=AttemptOutcome.DOUBTFUL))
    settle(store, held, second, verdict(outcome=AttemptOutcome.REFUSED))
    close(store, held)
    add(store, 0, 1)
    assert begin(store, claimed(store)) is None
    assert states(store) == ["in_doubt", "suppressed", "pending"]
    assert counts_of(store, campaign) == {"in_doubt": 1, "suppressed": 1, "pending": 1}


def test_a_claim_that_was_lost_changes_nothing(store):
    add_campaign(store, [1])
    held = claimed(store)
    add(store, 0)
    assert begin(store, replace(held, fence=held.fence - 1)) is None
    assert states(store) == ["pending"]
    assert batch_of(store, held.id).state == BatchState.CLAIMED


# --- The list ---------------------------------------------------------------------------------


def test_what_is_on_the_list_keeps_its_first_entry(store):
    assert add(store, 5, 1, now=NOW) == 2
    assert add(store, 1, 2, now=later(60)) == 1
    assert add(store, 1, account="main", now=later(90)) == 1
    with store.read() as conn:
        entries = suppressions.find_entries(conn, [FIRST_NUMBER + 1])
        assert [(e.account, e.at) for e in entries] == [("", NOW), ("main", later(90))]
        assert entries[0][2:5] == ORIGIN
        (only,) = suppressions.find_entries(conn, [FIRST_NUMBER + 1], "other")
        assert only.account == ""
        assert suppressions.count_entries(conn) == {"": 3, "main": 1}
        newest = suppressions.list_newest_entries(conn, account=None, limit=2)
        assert [e.at for e in newest] == [later(90), later(60)]
        (mine,) = suppressions.list_newest_entries(conn, account="main", limit=9)
        assert mine.account == "main"
        first, *rest = suppressions.next_entries(conn, None, account=None)
        assert suppressions.next_entries(conn, first, account=None) == rest
        assert suppressions.next_entries(conn, None, account="main") == [mine]
        assert suppressions.is_listed(conn, FIRST_NUMBER + 2, "main")
        assert not suppressions.is_listed(conn, FIRST_NUMBER + 3, "main")


def test_the_list_of_an_account_is_read_page_by_page_and_says_nothing_about_others(sqlite_store):
    add(sqlite_store, 1, 2)
    add(sqlite_store, 4, account="other")
    add(sqlite_store, 5, account="main")
    with sqlite_store.read() as conn:
        pages = [suppressions.next_numbers(conn, "main", FIRST_NUMBER + n) for n in (1, 5)]
        assert pages == [[FIRST_NUMBER + 2, FIRST_NUMBER + 5], []]
        of_main = [suppressions.is_listed(conn, FIRST_NUMBER + n, "main") for n in (3, 4, 5)]
        assert of_main == [False, False, True]


def test_numbers_are_taken_off_for_one_account_or_for_any(store):
    add(store, 0, 1)
    add(store, 0, 2, account="main")
    assert (listed(store, "main"), listed(store, "other")) == ([0, 1, 2], [0, 1])
    with store.write() as conn:
        numbers = [FIRST_NUMBER, FIRST_NUMBER + 7]
        assert suppressions.remove_numbers(conn, numbers, ANY_ACCOUNT) == [FIRST_NUMBER]
        assert suppressions.remove_numbers(conn, numbers, "other") == []
    assert (listed(store, "main"), listed(store, "other")) == ([0, 1, 2], [1])
    assert len(rows(store, SUPPRESSION)) == 3


def test_suppressed_is_the_end_of_a_message(store):
    add_campaign(store, [1])
    held = claimed(store)
    add(store, 0)
    begin(store, held)
    with store.write() as conn:
        suppressions.remove_numbers(conn, [FIRST_NUMBER], ANY_ACCOUNT)
    assert [MessageState(m.state).label for m in rows(store, MESSAGE)] == ["suppressed"]


@pytest.mark.postgres
@pytest.mark.parametrize("account", [ANY_ACCOUNT, "main"])
def test_who_adds_a_number_waits_for_a_begin_that_has_not_seen_it(emptied_postgres_url, account):
    """Then it has begun before the number was on the list."""
    with closing(Store(emptied_postgres_url)) as store, ThreadPoolExecutor(1) as pool:
        add_campaign(store, [1])
        held = claimed(store)
        with store.write() as conn:
            assert not attempts.lock_for_begin(conn, held).has_suppressions
            adding = pool.submit(add, store, 0, account=account)
            with pytest.raises(TimeoutError):
                adding.result(0.1)
        assert adding.result(10) == 1
        with store.write() as conn:
            assert attempts.lock_for_begin(conn, held).has_suppressions
