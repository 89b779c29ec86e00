"""A store of an earlier version goes on under this one: nobody twice, nobody lost."""

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store.tables import ATTEMPT, MESSAGE
from tests.support import half_sent
from tests.support.stage import Campaign, stage

pytestmark = pytest.mark.acceptance

_RECEIPTED = (MessageState.DELIVERED, MessageState.UNDELIVERED)
ACCOUNT = {"max_recipients": 5, "max_in_flight": 2}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def old_store(request, tmp_path) -> tuple[str, Path | None]:
    """The URL of a store that 0c9f2b9 has written, and its folder of answers if not beside it."""
    if request.param == "sqlite":
        return half_sent.load_sqlite(tmp_path / "dispatcher.db"), None
    url, folder = request.getfixturevalue("empty_postgres_url"), tmp_path / "spill"
    half_sent.load_postgres(url, folder)
    return url, folder


def test_a_half_sent_campaign_of_an_earlier_version_is_finished_and_nobody_gets_it_twice(old_store):
    url, spill_dir = old_store
    worker = {"spill_dir": str(spill_dir) if spill_dir else None}
    with stage(store_url=url, accounts={"main": ACCOUNT}, worker=worker) as ours:
        with ours.store.read() as conn:
            messages = conn.execute(select(MESSAGE).order_by(MESSAGE.c.seq)).all()
            requests = {row.id: row for row in conn.execute(select(ATTEMPT))}
        known = {row.msisdn: row.provider_message_id for row in messages if row.state in _RECEIPTED}
        doubtful = {row.msisdn for row in messages if row.state == MessageState.IN_DOUBT}
        pending = {
            row.msisdn: row.attempt_id for row in messages if row.state == MessageState.PENDING
        }
        left = {number for number, attempt_id in pending.items()
                if attempt_id and requests[attempt_id].outcome == AttemptOutcome.OPEN}  # fmt: skip
        assert (len(messages), len(known), len(doubtful), len(left)) == (half_sent.SIZE, 20, 5, 10)
        if spill_dir:
            # A dump in another database may be a backup: a person says that it is none.
            adopted = ours.run("db", "adopt", "--moved", "--yes")
            assert adopted.code == 0, adopted.err
        ours.start()
        campaign = Campaign(ours, half_sent.CAMPAIGN_ID)
        campaign.wait_until_over()

        accepted = Counter(int(entry["number"]) for entry in ours.provider.ledger())
        assert accepted == Counter(pending.keys() - left)
        exported = {int(row["msisdn"]): row for row in campaign.export()}
        assert {n: exported[n]["provider_message_id"] for n in known} == known
        states = Counter(row["state"] for row in exported.values())
        # Of the two requests that were out, one has an answer on disk: `submitted`, no receipt.
        assert (states["in_doubt"], states["submitted"]) == (10, 5)
        assert states["delivered"] + states["undelivered"] == 45
        assert {exported[n]["state"] for n in doubtful} == {"in_doubt"}
        spilled = [row for row in exported.values() if row["job_id"] == "spilled-job"]
        assert {int(row["msisdn"]) for row in spilled} < left
        assert {row["state"] for row in spilled} == {"submitted"}
