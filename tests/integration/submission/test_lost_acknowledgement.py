"""PostgreSQL's answer to the accepting commit is lost: what became of it is looked up."""

import time
from contextlib import closing

import pytest

from dispatcher.errors import Refused
from dispatcher.status import CampaignState
from dispatcher.store import campaigns, imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.tables import CAMPAIGN
from dispatcher.submission import acceptance, campaign_import
from dispatcher.submission.acceptance import AcceptanceUnknown
from tests.support.pgbouncer import lossy_proxy, through_port
from tests.support.stores import ignore, order, ready, rows

pytestmark = pytest.mark.postgres
FILE = "phone\n9800000001\n9800000002\n"


@pytest.fixture
def proxy(postgres_server):
    with lossy_proxy(postgres_server.folder) as running:
        yield running


@pytest.fixture
def store(postgres_url, proxy):
    with closing(Store(through_port(postgres_url, proxy.port))) as opened:
        yield opened


def imported_file(store, content=FILE):
    with ready(order(content)) as checked:
        return campaign_import.import_rows(store, checked, ignore)


@pytest.mark.parametrize("lost", ["answer", "request"])
@pytest.mark.parametrize("away_s", [0, 1.2])
@pytest.mark.parametrize(
    ("content", "state"),
    [(FILE, CampaignState.SCHEDULED), ("phone\n12\n", CampaignState.REJECTED)],
)
def test_a_campaign_is_accepted_once_although_the_commit_broke(
    lost, away_s, content, state, store, proxy
):
    imported = imported_file(store, content)
    proxy.lose_next = lost
    proxy.closed_until = time.monotonic() + away_s
    assert acceptance.accept_import(store, imported) is state
    assert proxy.losses == 1
    assert [row.state for row in rows(store, CAMPAIGN)] == [state]


def test_an_import_that_another_submission_took_over_is_not_taken_for_accepted(store, proxy):
    imported = imported_file(store)
    with store.write() as conn:
        left = campaigns.load_campaign(conn, imported.job.campaign_id)
        imports.take_over_import(conn, left, store_now(conn))
    proxy.lose_next = "request"
    with pytest.raises(Refused, match="took over"):
        acceptance.accept_import(store, imported)


def test_a_store_that_stays_away_is_not_called_a_failure_of_the_campaign(store, proxy):
    imported = imported_file(store)
    proxy.lose_next = "answer"
    proxy.closed_until = time.monotonic() + 600
    with pytest.raises(AcceptanceUnknown, match="it is not known whether campaign 1 was accepted"):
        acceptance.accept_import(store, imported, look_for_s=0.5)
    proxy.closed_until = 0
    assert [row.state for row in rows(store, CAMPAIGN)] == [CampaignState.SCHEDULED]
