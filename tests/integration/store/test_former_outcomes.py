"""What had become of messages before: which earlier requests count for a number in doubt."""

import pytest
from sqlalchemy import insert

from dispatcher.status import MessageState
from dispatcher.store import former_outcomes
from dispatcher.store.tables import FORMER_OUTCOME
from tests.support.stores import NOW, add_account, add_attempt, add_campaign, later, rows

NUMBER = 919_800_000_001


def add_outcome(conn, attempt, **values):
    given = {
        "campaign_id": 1, "seq": 3, "msisdn": NUMBER, "attempt_id": attempt,
        "state": MessageState.UNDELIVERED, "at": later(9),
    }  # fmt: skip
    conn.execute(insert(FORMER_OUTCOME).values(**(given | values)))


@pytest.fixture
def scene(sqlite_store):
    """Two campaigns, and a connection that writes."""
    for name in ("main", "other"):
        add_account(sqlite_store, name)
    for first in (10**9, 2 * 10**9):
        add_campaign(sqlite_store, [5], first=first)
    with sqlite_store.write() as conn:
        yield conn


def test_what_was_accepted_before_without_an_id_may_be_an_entry_of_the_list(scene):
    add_attempt(scene)  # another request, which has no former outcome
    for values, attempt, counts in (
        ({}, {}, True),
        ({"state": MessageState.EXPIRED}, {}, True),
        ({"state": MessageState.REJECTED}, {}, False),
        ({"state": MessageState.FAILED}, {}, False),
        ({"state": MessageState.IN_DOUBT}, {}, False),
        ({"provider_message_id": "known"}, {}, False),
        ({"msisdn": NUMBER + 1}, {}, False),
        ({}, {"account": "other"}, False),
        ({}, {"begun_at": later(-1)}, False),
        ({}, {"begun_at": later(1)}, True),
    ):
        with scene.begin_nested() as case:
            add_outcome(scene, add_attempt(scene, **attempt), **values)
            found = former_outcomes.accepted_without_id(scene, "main", [NUMBER, NUMBER + 7], NOW)
            assert found == [NUMBER] * counts, (values, attempt)
            case.rollback()


def test_the_first_request_that_left_a_message_in_doubt_is_found(scene):
    add_attempt(scene, begun_at=later(-60))  # it left nobody in doubt
    for values, attempt, counts in (
        ({}, {}, True),
        ({"state": MessageState.FAILED}, {}, False),
        ({"state": MessageState.SUPPRESSED}, {}, False),
        ({"campaign_id": 2}, {}, False),
        ({"seq": 4}, {}, False),
        ({}, {"account": "other"}, False),
    ):
        with scene.begin_nested() as case:
            for seconds in (5, 2, 8):
                made = add_attempt(scene, **({"begun_at": later(seconds)} | attempt))
                add_outcome(scene, made, **({"state": MessageState.IN_DOUBT} | values))
            found = former_outcomes.first_requests_in_doubt(scene, "main", 1, [2, 3])
            assert found == ({3: later(2)} if counts else {}), (values, attempt)
            case.rollback()


def test_what_is_counted_and_forgotten_is_what_is_asked_for(scene, sqlite_store):
    attempt = add_attempt(scene)
    for campaign, seq in ((1, 0), (1, 3), (2, 0)):
        add_outcome(scene, attempt, campaign_id=campaign, seq=seq, error="words")
    assert former_outcomes.count_retried(scene, [1]) == {MessageState.UNDELIVERED: 2}
    assert former_outcomes.count_retried(scene, []) == {}
    former_outcomes.forget_numbers(scene, FORMER_OUTCOME.c.campaign_id == 1)
    scene.commit()
    kept = [(row.msisdn, row.error) for row in rows(sqlite_store, FORMER_OUTCOME)]
    assert kept == [(-1, None), (-4, None), (NUMBER, "words")]
