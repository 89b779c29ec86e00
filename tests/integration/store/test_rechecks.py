"""Campaigns that wait for a second check: which are due, and what a check changes."""

from datetime import timedelta

import pytest

from dispatcher.status import CampaignState
from dispatcher.store import campaign_settings, rechecks
from dispatcher.store.rechecks import RecheckTicket
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from dispatcher.types import Route
from tests.support.stores import (
    LEASE,
    NOW,
    add_campaign,
    audit,
    campaign_of,
    change,
    later,
    rows,
)

INSTANT = timedelta(microseconds=1)
ROUTE = Route(sender="SENDER", template="TEMPLATE", sender_ref="s-1", template_ref="t-1")
ROUTES = (
    '[{"account":"main","sender":"SENDER","template":null,"sender_ref":null,"template_ref":null}]'
)


def waiting(store, **values):
    given = {"recheck_at": NOW, "state": CampaignState.SCHEDULED}
    return add_campaign(store, **(given | values))


def due(store, now=NOW):
    with store.read() as conn:
        return [ticket.campaign_id for ticket in rechecks.due_rechecks(conn, now)]


def lease(store, *tickets, now=NOW):
    with store.write() as conn:
        given = rechecks.lease_rechecks(conn, tickets, now=now, lease_until=now + LEASE)
    return sorted(given)


def passes(store, campaign_id, account="main"):
    with store.write() as conn:
        return rechecks.pass_recheck(conn, campaign_id, account, ROUTE)


def fails(store, campaign_id, account="main", *, again=True):
    ticket = RecheckTicket(campaign_id, account)
    with store.write() as conn:
        return rechecks.fail_recheck(conn, ticket, "no credit", later(5), again=again)


@pytest.mark.parametrize(
    ("values", "is_due"),
    [
        ({}, True),
        ({"state": CampaignState.RUNNING}, True),
        ({"recheck_at": NOW - LEASE}, True),
        ({"recheck_at": NOW + INSTANT}, False),
        ({"recheck_at": None}, False),
        ({"state": CampaignState.PAUSED}, False),
        ({"state": CampaignState.IMPORTING}, False),
        ({"state": CampaignState.CANCELLED, "finished_at": NOW}, False),
        ({"state": CampaignState.FINISHED, "finished_at": NOW}, False),
        ({"finished_at": NOW}, False),
    ],
)
def test_a_check_is_due_at_its_time_in_a_campaign_that_is_to_be_sent(sqlite_store, values, is_due):
    campaign_id = waiting(sqlite_store, **values)
    assert due(sqlite_store) == [campaign_id] * is_due
    ticket = RecheckTicket(campaign_id, "main")
    assert lease(sqlite_store, ticket) == [ticket] * is_due
    assert passes(sqlite_store, campaign_id) is (
        is_due or values.get("recheck_at") == NOW + INSTANT
    )


@pytest.mark.parametrize("values", [{"paused_by": "operator"}, {"stopped_at": NOW}])
def test_the_campaigns_of_an_account_that_does_not_send_wait_and_no_others(store, values):
    mine, other = waiting(store), waiting(store, account="other")
    assert due(store) == [mine, other]
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **values)
    assert due(store) == [other]


def test_a_check_is_given_to_one_worker_until_its_lease_ends(store):
    mine, other, third = waiting(store), waiting(store), waiting(store)
    tickets = [RecheckTicket(each, "main") for each in (mine, other)]
    assert lease(store, *tickets) == tickets
    assert lease(store, *tickets) == []
    assert due(store) == [third]
    assert due(store, NOW + LEASE - INSTANT) == [third]
    assert due(store, NOW + LEASE) == [mine, other, third]


def test_a_check_that_was_passed_lets_this_campaign_go_and_no_other(store):
    mine, other = waiting(store), waiting(store)
    assert passes(store, mine)
    row = campaign_of(store, mine)
    assert (row.recheck_at, row.sender_ref, row.template_ref) == (None, "s-1", "t-1")
    row = campaign_of(store, other)
    assert (row.recheck_at, row.sender_ref, row.template_ref) == (NOW, None, None)
    assert not passes(store, mine)


def test_with_fallback_accounts_the_ids_of_the_submission_are_kept(store):
    mine = waiting(store, routes=ROUTES)
    assert passes(store, mine)
    row = campaign_of(store, mine)
    assert (row.recheck_at, row.sender_ref, row.template_ref) == (None, None, None)


@pytest.mark.parametrize("again", [True, False])
def test_a_check_that_failed_pauses_this_campaign_and_no_other(store, again):
    mine, other = waiting(store), waiting(store)
    before = rows(store, CAMPAIGN, CAMPAIGN.c.id == other)
    assert fails(store, mine, again=again)
    row = campaign_of(store, mine)
    assert (row.state, row.state_reason) == (CampaignState.PAUSED, "no credit")
    assert row.recheck_at == (later(5) if again else None)
    assert rows(store, CAMPAIGN, CAMPAIGN.c.id == other) == before
    assert audit(store) == ["campaign paused"]


@pytest.mark.parametrize(
    ("values", "account"),
    [
        ({}, "other"),
        ({"recheck_at": None}, "main"),
        ({"state": CampaignState.PAUSED}, "main"),
        ({"state": CampaignState.CANCELLED}, "main"),
    ],
)
def test_a_check_that_is_out_of_date_changes_nothing(store, values, account):
    mine = waiting(store, **values)
    before = rows(store, CAMPAIGN)
    assert not fails(store, mine, account)
    assert not passes(store, mine, account)
    assert rows(store, CAMPAIGN) == before
    assert audit(store) == []


def test_a_change_of_a_campaign_that_waits_for_no_check_asks_for_none(store):
    campaign = add_campaign(store, [1])
    with store.write() as conn:
        campaign_settings.change_settings(
            conn, campaign, {"priority": 3}, deadline_after=timedelta(), actor="asha", now=NOW
        )
    assert campaign_of(store, campaign).recheck_at is None
