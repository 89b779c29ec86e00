"""Campaigns and batches are found by what is asked for, beside others that are nearly so."""

import pytest

from dispatcher.status import BatchState, CampaignState
from dispatcher.store import campaign_search
from dispatcher.store.tables import BATCH, CAMPAIGN
from tests.support.stores import NOW, add_campaign, change

RUNNING, PAUSED = CampaignState.RUNNING, CampaignState.PAUSED


@pytest.fixture
def three(sqlite_store):
    """Three running campaigns; the second one is a single message."""
    ids = [add_campaign(sqlite_store, [1, 1], first=n * 10**9) for n in (1, 2, 3)]
    with sqlite_store.write() as conn:
        for number, id_ in enumerate(ids):
            values = {"name": f"name-{number}", "idempotency_key": f"key-{number}"}
            change(conn, CAMPAIGN, CAMPAIGN.c.id == id_, one_off=number == 1, **values)
    return ids


def test_a_campaign_is_found_by_its_name_or_its_key(sqlite_store, three):
    with sqlite_store.read() as conn:
        found = campaign_search.find_by_name(conn, "name-1")
        assert [row.id for row in found] == [three[1]]
        assert campaign_search.find_by_name(conn, "name") == []
        assert campaign_search.find_by_idempotency_key(conn, "key-2").id == three[2]
        assert campaign_search.find_by_idempotency_key(conn, "key") is None


@pytest.mark.parametrize(("single", "places"), [(None, [2, 1, 0]), (True, [1]), (False, [2, 0])])
def test_single_messages_are_listed_apart(sqlite_store, three, single, places):
    with sqlite_store.read() as conn:
        found = campaign_search.list_newest(conn, limit=9, single=single)
        assert [row.id for row in found] == [three[place] for place in places]
        assert campaign_search.newest_names(conn) == ["name-2", "name-0"]


@pytest.mark.parametrize(
    ("values", "states", "accounts", "is_listed"),
    [
        ({}, [RUNNING], [], True),
        ({}, [PAUSED], [], False),
        ({}, [RUNNING, PAUSED], ["main", "other"], True),
        ({}, [RUNNING], ["other"], False),
        ({"account": "other"}, [RUNNING], ["other"], True),
        ({"finished_at": NOW}, [RUNNING], [], False),
    ],
)
def test_open_campaigns_are_listed_by_state_and_account(
    sqlite_store, values, states, accounts, is_listed
):
    mine = add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        if values:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == mine, **values)
        found = campaign_search.list_open(conn, states=states, accounts=accounts)
    assert [row.id for row in found] == [mine] * is_listed


@pytest.mark.parametrize(
    ("values", "is_troubled"),
    [
        ({"error": "words"}, True),
        ({"error": "words", "state": BatchState.QUEUED}, True),
        ({"error": "words", "state": BatchState.SUBMITTING}, True),
        ({"error": "words", "state": BatchState.SETTLED}, False),
        ({"error": "words", "state": BatchState.CANCELLED}, False),
        ({"error": None}, False),
    ],
)
def test_batches_whose_last_try_failed_are_listed_until_they_end(
    sqlite_store, three, values, is_troubled
):
    """Those of the campaign, and at most as many as are asked for."""
    mine, other = three[:2]
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == mine, tries=BATCH.c.seq, **values)
        change(conn, BATCH, BATCH.c.campaign_id == other, error="of another", tries=9)
        found = [campaign_search.list_troubled_batches(conn, mine, limit) for limit in (1, 9)]
    assert [[batch.seq for batch in each] for each in found] == (
        [[1], [1, 0]] if is_troubled else [[], []]
    )
    assert {batch.campaign_id for batch in found[1]} <= {mine}
