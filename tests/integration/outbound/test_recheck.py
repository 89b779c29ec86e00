"""A campaign for later is checked at its provider before its first batch, in both stores."""

from datetime import timedelta
from types import SimpleNamespace

import orjson
import pytest

from dispatcher.campaigns.control import resume_campaign
from dispatcher.errors import ErrorKind, ProviderError, Refused
from dispatcher.outbound.recheck import NotNow, recheck_campaign
from dispatcher.outbound.release import find_releasable_accounts, release_batches
from dispatcher.providers import provider_class
from dispatcher.simulator.families.thesmspoint_directory import SENDERS, TEMPLATES
from dispatcher.store import rechecks, workloads
from dispatcher.store.campaign_settings import change_settings
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from dispatcher.types import HttpResponse
from tests.support import stores

POINT = provider_class("thesmspoint")
PROVIDER = POINT(
    POINT.settings_type.model_validate(
        {"provider": "thesmspoint", "base_url": "http://127.0.0.1:9", "api_key": "any"}
    )
)


def answers(balance=100, error=None):
    """A provider with the simulator's senders and templates."""
    data = {
        "get-sender-id": [*SENDERS.values()],
        "get-templates": [*TEMPLATES.values()],
        "get-sms-balance": {"balance": {"Transactional": balance}},
    }

    def answer(request):
        if error is not None:
            raise error
        body = {"status": "success", "data": data[request.url.rpartition("/")[2]]}
        return HttpResponse(status=200, headers={}, body=orjson.dumps(body))

    return answer


class Campaign(SimpleNamespace):
    """A running campaign of three recipients that waits for its check."""

    @property
    def row(self):
        return stores.campaign_of(self.store, self.id)

    def check(self, answer):
        return recheck_campaign(self.store, self.row, PROVIDER, answer)

    def release(self):
        with self.store.write() as conn:
            return release_batches(conn, "main", PROVIDER.settings, store_now(conn))


@pytest.fixture
def campaign(store):
    with store.read() as conn:
        now = store_now(conn)
    values = {"sender": "SENDER", "template": "TEMPLATE", "sender_ref": None}
    id_ = stores.add_campaign(store, recheck_at=now - timedelta(seconds=1), **values)
    return Campaign(store=store, id=id_, now=now)


def test_nothing_is_released_until_it_has_passed_and_then_with_the_providers_ids(campaign):
    with campaign.store.read() as conn:
        assert find_releasable_accounts(conn, {"main": PROVIDER.settings}, campaign.now) == set()
    assert campaign.release() == []
    assert "can be sent" in campaign.check(answers())
    row = campaign.row
    assert (row.recheck_at, row.sender_ref) == (None, "4101")
    assert row.template_ref == "1107160000000007201"
    assert len(campaign.release()) == 1


def test_a_campaign_that_waits_for_its_check_holds_up_no_other(campaign):
    other = stores.add_campaign(campaign.store)
    (ticket,) = campaign.release()
    assert stores.batch_of(campaign.store, ticket.id).campaign_id == other


@pytest.mark.parametrize("error", [
    ProviderError(ErrorKind.UNREACHABLE, "no connection"), NotNow(),
])  # fmt: skip
def test_a_provider_that_does_not_answer_is_asked_again_and_nothing_is_sent(campaign, error):
    assert "is checked later" in campaign.check(answers(error=error))
    assert campaign.row.state == "running"
    assert campaign.row.recheck_at is not None
    assert campaign.release() == []
    assert stores.rows(campaign.store, ACCOUNT)[0].paused_by is None


def test_a_refused_key_pauses_the_account(campaign):
    campaign.check(answers(error=ProviderError(ErrorKind.CREDENTIALS, "no such key")))
    (account,) = stores.rows(campaign.store, ACCOUNT)
    assert (account.paused_by, campaign.row.recheck_at is not None) == ("credentials", True)


def change(campaign, **values):
    with campaign.store.write() as conn:
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign.id, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"sender": "RENAMED", "sender_ref": "4101"},
        {"template": "RENAMED", "template_ref": "1107160000000007201"},
        # Its text was compared when it was submitted.
        {"template": "DEARTPL", "template_ref": "1107160000000007205"},
    ],
)
def test_what_has_an_id_is_looked_for_by_that(campaign, values):
    change(campaign, **values)
    assert "can be sent" in campaign.check(answers())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"template": "NEWTPL"}, "the template 'NEWTPL' is not approved"),
        ({"sender": "GONE"}, "knows no sender 'GONE'"),
        ({"template": "DEARTPL"}, "the text does not fit the template"),
    ],
)
def test_what_is_wrong_pauses_it_and_it_is_checked_again_when_it_is_resumed(
    campaign, values, reason
):
    change(campaign, **values)
    campaign.check(answers())
    assert campaign.row.state == "paused"
    assert reason in campaign.row.state_reason
    resume_campaign(campaign.store, str(campaign.id))
    change(campaign, state="running")
    assert campaign.row.recheck_at is not None
    assert campaign.release() == []


def test_who_resumes_it_after_too_little_credit_has_decided_to_send(campaign):
    with campaign.store.read() as conn:
        parts = sum(work.parts for work in workloads.load_open_work(conn, "main"))
    campaign.check(answers(balance=parts - 1))
    assert campaign.row.state == "paused"
    assert f"is {parts - 1}: enough for" in campaign.row.state_reason
    resume_campaign(campaign.store, str(campaign.id))
    assert campaign.row.recheck_at is None


def moved(campaign):
    change(campaign, account="other")


def passed(campaign):
    campaign.check(answers())


@pytest.mark.parametrize("overtakes", [moved, passed])
def test_a_check_that_others_have_overtaken_pauses_nothing(campaign, overtakes):
    """It took longer than its lease: another check let the campaign go, or it has moved."""
    shown = campaign.row

    def answer(request):
        if campaign.row == shown:
            overtakes(campaign)
        raise Refused("the sender is not approved", "ask for it")

    assert "no longer waits" in recheck_campaign(campaign.store, shown, PROVIDER, answer)
    assert (campaign.row.state, campaign.row.state_reason) == ("running", None)
    assert (campaign.row.recheck_at is None) == (overtakes is passed)


def test_a_due_check_is_published_once_a_minute_and_not_for_a_paused_account(campaign):
    store, minute = campaign.store, timedelta(minutes=1)
    with store.write() as conn:
        due = rechecks.due_rechecks(conn, campaign.now)
        assert due == [(campaign.id, "main")]
        lease = {"now": campaign.now, "lease_until": campaign.now + minute}
        assert rechecks.lease_rechecks(conn, due, **lease) == due
        assert rechecks.lease_rechecks(conn, due, **lease) == []
        assert rechecks.due_rechecks(conn, campaign.now) == []
        assert rechecks.due_rechecks(conn, campaign.now + minute) == due
    with store.write() as conn:
        stores.change(conn, ACCOUNT, ACCOUNT.c.name == "main", paused_by="person")
        assert rechecks.due_rechecks(conn, campaign.now + minute) == []


def test_a_changed_time_makes_the_check_due(campaign):
    change(campaign, recheck_at=campaign.now + timedelta(days=7))
    with campaign.store.write() as conn:
        change_settings(
            conn, campaign.id, {"start_at": None},
            deadline_after=timedelta(seconds=60), actor="asha", now=campaign.now,
        )  # fmt: skip
        assert rechecks.due_rechecks(conn, campaign.now) == [(campaign.id, "main")]
