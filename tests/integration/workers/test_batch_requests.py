"""The batch that a worker builds from a campaign's stored rows."""

from dataclasses import replace

import pytest

from dispatcher.errors import ConfigError, Refused
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import Encoding
from dispatcher.store import messages
from dispatcher.types import HttpRequest
from tests.support.stores import (
    NOW,
    FakeProvider,
    add_campaign,
    campaign_of,
    claimed,
    later,
    provider,
    settings,
)
from workers.batch.requests import build_batch, build_requests, refuse_others, turn_size


@pytest.mark.parametrize(("now", "told"), [(later(59), later(60)), (later(60), None)])
def test_a_sending_time_is_given_to_the_provider_until_it_has_passed(sqlite_store, now, told):
    campaign_id = add_campaign(sqlite_store, [2], schedule_at=later(60))
    held = claimed(sqlite_store, now=NOW)
    with sqlite_store.read() as conn:
        rows = messages.load_pending(conn, held, 2)
    batch = build_batch(campaign_of(sqlite_store, campaign_id), "main", Encoding.GSM7, rows, now)
    assert len(batch.recipients) == 2
    assert batch.schedule_at == told


def test_an_account_with_an_allow_list_refuses_a_batch_with_others():
    asha, ravi, mira = 919820011223, 919820011224, 919820011225
    refuse_others(settings(), "main", [asha])
    mine = settings(allow_only=["+91 98200 11223", "9820011224"], country="IN")
    refuse_others(mine, "main", [asha, ravi])
    with pytest.raises(Refused, match="`allow_only`, and 1 of the 2 recipients"):
        refuse_others(mine, "main", [asha, mira])
    with pytest.raises(Refused):  # a contact list: nobody knows its numbers
        refuse_others(mine, "main", [0])
    with pytest.raises(Refused):
        refuse_others(settings(allow_only=[]), "main", [asha])
    with pytest.raises(ConfigError, match="`allow_only` has "):
        refuse_others(settings(allow_only=["98"]), "main", [asha])


class Listing(FakeProvider):
    """A provider with contact lists."""

    def contact_list_request(self, batch, lists):
        return HttpRequest(method="POST", url=f"http://127.0.0.1:9/{'+'.join(lists)}")


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:8"])
@pytest.mark.parametrize(
    ("lists", "paths", "sizes"), [(None, ["", ""], [100, 1]), ('["a","b"]', ["/a+b"], [101])]
)
def test_every_request_goes_by_the_accounts_proxy(sqlite_store, proxy, lists, paths, sizes):
    """A batch to contact lists is one request, whatever its size."""
    campaign_id = add_campaign(sqlite_store, [101], contact_lists=lists)
    campaign, held = campaign_of(sqlite_store, campaign_id), claimed(sqlite_store)
    with sqlite_store.read() as conn:
        rows = messages.load_pending(conn, held, 101)
    batch = build_batch(campaign, "main", Encoding.GSM7, rows, NOW)
    adapter = Listing(
        ProviderSettings(provider="fake", base_url="https://127.0.0.1:9", proxy=proxy)
    )
    made = build_requests(adapter, campaign, batch)
    assert [one.http.url.removeprefix("http://127.0.0.1:9") for one in made] == paths
    assert [len(one.recipients) for one in made] == sizes
    assert {one.http.proxy for one in made} == {proxy}


@pytest.mark.parametrize(
    ("is_probe", "is_known", "left", "recipients"),
    [
        (False, True, None, 100),
        (False, True, 7, 7),
        (False, True, 700, 100),
        (True, True, 7, 1),
        (False, False, 7, 1),
    ],
)
def test_a_turn_sends_what_a_request_and_the_day_allow(
    sqlite_store, is_probe, is_known, left, recipients
):
    campaign = campaign_of(sqlite_store, add_campaign(sqlite_store, [200]))
    held = replace(claimed(sqlite_store), is_probe=is_probe)
    size = turn_size(held, campaign if is_known else None, provider(), left)
    assert size.recipients == recipients
