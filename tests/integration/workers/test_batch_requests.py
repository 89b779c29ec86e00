"""The batch that a worker builds from a campaign's stored rows."""

import pytest

from dispatcher.status import Encoding
from dispatcher.store import messages
from tests.support.stores import NOW, add_campaign, campaign_of, claimed, later
from workers.batch.requests import build_batch


@pytest.mark.parametrize(("now", "told"), [(later(59), later(60)), (later(60), None)])
def test_a_sending_time_is_given_to_the_provider_until_it_has_passed(sqlite_store, now, told):
    campaign_id = add_campaign(sqlite_store, [2], schedule_at=later(60))
    held = claimed(sqlite_store, now=NOW)
    with sqlite_store.read() as conn:
        rows = messages.load_pending(conn, held, 2)
    batch = build_batch(campaign_of(sqlite_store, campaign_id), "main", Encoding.GSM7, rows, now)
    assert len(batch.recipients) == 2
    assert batch.schedule_at == told
