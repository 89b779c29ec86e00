"""Erasures: nothing of a number is left but what counts, and nobody texts it again."""

import json

import pytest

from dispatcher.errors import StateRefused
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.retention.erase import plan_erasure, run_erasure
from dispatcher.status import BatchState, CampaignState, MessageState
from dispatcher.store import erased_numbers, erasures, scheduler, suppressions
from dispatcher.store.suppressions import ANY_ACCOUNT, SuppressionOrigin
from dispatcher.store.tables import (
    ALTERNATE_ID,
    ATTEMPT,
    AUDIT,
    BATCH,
    CAMPAIGN,
    FORMER_OUTCOME,
    MESSAGE,
    REJECT,
    SUPPRESSION,
)
from dispatcher.submission.withheld import SuppressedNumbers
from tests.support.cli import in_process, write_config
from tests.support.retention import end, everything
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    begin,
    change,
    claimed,
    counts_of,
    later,
    order,
    rows,
    settle,
    states,
    submit,
    submitted,
    verdict,
)

NUMBER = 919800000001
NATIONAL = "9800000001"
ORIGIN = SuppressionOrigin("told us by phone", "cli", "asha@mail1")


def erase(store, msisdn=NUMBER):
    return run_erasure(store, plan_erasure(store, msisdn, str(msisdn)[2:]), sleep=lambda _s: None)


def add_listed(store, *numbers, account=ANY_ACCOUNT):
    with store.write() as conn:
        return suppressions.add_numbers(conn, numbers, account, ORIGIN, NOW)


def test_everything_of_a_number_goes_and_counts_stay(store):
    file = (
        "phone,name\n9800000001,Asha\n9800000002,Ravi\n98000 00001,Asha again\n"
        "98000-00001 / 7,Asha at work\n"
    )
    campaign = submit(store, order(file, text="Hi {{name}}"))
    end(store, campaign)
    add_listed(store, NUMBER)
    with store.write() as conn:
        same = {"campaign_id": campaign, "seq": 0, "msisdn": NUMBER, "at": NOW}
        conn.execute(ALTERNATE_ID.insert().values(
            account="main", provider_message_id="id-1", attempt_id=1, **same))  # fmt: skip
        conn.execute(FORMER_OUTCOME.insert().values(
            state=MessageState.FAILED, error="words about 9800000001", **same))  # fmt: skip
        change(conn, MESSAGE, MESSAGE.c.msisdn == NUMBER, error="+919800000001 is blocked",
               provider_message_id="id-2")  # fmt: skip
    counts = counts_of(store, campaign)
    plan = plan_erasure(store, NUMBER, NATIONAL)
    assert (len(plan.messages), len(plan.rejects), plan.listed) == (1, 2, 1)
    run_erasure(store, plan)
    left = everything(store)
    assert not [words for words in (NATIONAL, "Asha", "by phone", "id-2") if words in left]
    assert "9800000002" in left
    assert "Ravi" in left
    assert counts_of(store, campaign) == counts
    assert len(rows(store, REJECT)) == 2
    assert len(rows(store, FORMER_OUTCOME)) == 1
    assert rows(store, AUDIT)[-1].action == "number erased"
    assert not erasures_left(store)


def erasures_left(store):
    with store.read() as conn:
        return erasures.find_messages(conn, NUMBER) + erasures.find_rejects(conn, NUMBER, NATIONAL)


def test_what_is_pending_is_cancelled_and_the_others_go_on(store):
    campaign = add_campaign(store, [3])
    paused = add_campaign(store, [2], state=CampaignState.PAUSED)
    erase(store, FIRST_NUMBER + 1)
    assert states(store, campaign) == ["pending", "cancelled", "pending"]
    assert states(store, paused) == ["pending", "cancelled"]
    assert [row.msisdn < 0 for row in rows(store, MESSAGE)] == [False, True, False, False, True]


def test_an_erased_number_of_a_failed_message_is_not_submitted_again(store):
    from dispatcher.store import retries

    campaign = add_campaign(store, [2])
    end(store, campaign, message=MessageState.FAILED)
    erase(store, FIRST_NUMBER)
    batch = rows(store, MESSAGE)
    assert [row.state for row in batch] == [MessageState.FAILED] * 2
    with store.write() as conn:
        (batch_id,) = retries.batches_with_states(conn, campaign, [MessageState.FAILED])
        assert retries.retry_batch(conn, batch_id, NOW) == 1
    assert states(store) == ["failed", "pending"]


# --- What is in the way -----------------------------------------------------------------------


def test_a_message_in_doubt_is_decided_first(store):
    add_campaign(store, [2])
    held, (attempt,) = claimed_and_begun(store)
    settle(store, held, attempt, verdict(doubtful=[0], accepted=[1]))
    with pytest.raises(StateRefused, match="is in doubt in campaign 1") as caught:
        erase(store, FIRST_NUMBER)
    assert "campaign resolve 1" in caught.value.hint
    assert rows(store, MESSAGE)[0].msisdn == FIRST_NUMBER


def claimed_and_begun(store):
    held = claimed(store)
    return held, begin(store, held)


def test_a_message_in_flight_is_waited_for_and_then_refused(store, monkeypatch):
    monkeypatch.setattr("dispatcher.retention.erase._TRY_FOR_S", 0.0)
    add_campaign(store, [2])
    claimed_and_begun(store)
    with pytest.raises(StateRefused, match="is in flight"):
        erase(store, FIRST_NUMBER)
    assert rows(store, SUPPRESSION) == []
    assert not erased(store, FIRST_NUMBER)


def test_a_message_that_is_still_asked_about_is_refused_with_the_time(store):
    add_campaign(store, [2])
    submitted(store)
    with pytest.raises(StateRefused, match=r"until 2030-05-06 13:00 UTC at most") as caught:
        erase(store, FIRST_NUMBER)
    assert "suppression add" in caught.value.hint
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id > 0, no_receipt=2)
        change(conn, ATTEMPT, ATTEMPT.c.id > 0, poll_at=None)
    assert erase(store, FIRST_NUMBER).messages == 1


def test_an_import_that_has_the_number_is_waited_for(store):
    campaign = add_campaign(store, [1])
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state=CampaignState.IMPORTING)
    with pytest.raises(StateRefused, match="is being imported"):
        erase(store, FIRST_NUMBER)


def test_workers_that_do_not_know_erased_numbers_are_in_the_way(store):
    from datetime import UTC, datetime

    with store.write() as conn:
        scheduler.record_heartbeat(conn, "old:1", 4, datetime.now(UTC))
    with pytest.raises(StateRefused, match="old:1"):
        erase(store)


# --- Nobody texts it again --------------------------------------------------------------------


def erased(store, *numbers):
    with store.read() as conn:
        return sorted(erased_numbers.find_erased(conn, numbers))


def test_an_erased_number_is_found_by_its_hash_at_submission(store):
    erase(store)
    assert rows(store, SUPPRESSION) == []
    withheld = SuppressedNumbers(store, "main")
    found = [msisdn for msisdn in range(NUMBER - 60, NUMBER + 60) if msisdn in withheld]
    assert found == [NUMBER]
    withheld = SuppressedNumbers(store, "main")
    assert [one in withheld for one in (NUMBER, NUMBER + 1)] == [True, False]
    with store.read() as conn:
        listed = [suppressions.is_listed(conn, NUMBER + n, "main") for n in (0, 1)]
        assert listed == [True, False]


def test_one_who_was_erased_beside_an_import_is_suppressed_at_begin(store):
    campaign = add_campaign(store, [3])
    with store.write() as conn:
        erased_numbers.add_erased(conn, FIRST_NUMBER + 1, actor="asha", now=NOW)
    held = claimed(store)
    assert begin(store, held, now=later(1)) is None
    assert states(store) == ["pending", "suppressed", "pending"]
    assert counts_of(store, campaign) == {"pending": 2, "suppressed": 1}
    assert begin(store, claimed(store, now=later(2)), [[0, 2]], now=later(2)) is not None


def test_what_an_earlier_request_of_an_erased_number_says_comes_first(sqlite_store):
    """One is under way, one was submitted as a late answer said; and others have the same seqs."""
    store = sqlite_store
    other = add_campaign(store, [4], first=FIRST_NUMBER + 3)
    add_campaign(store, [4])
    with store.write() as conn:
        for place in (1, 2, 6):
            erased_numbers.add_erased(conn, FIRST_NUMBER + place, actor="asha", now=NOW)
        change(conn, BATCH, BATCH.c.campaign_id == other, state=BatchState.QUEUED)
        of_mine = (MESSAGE.c.campaign_id != other) & (MESSAGE.c.seq == 1)
        change(conn, MESSAGE, of_mine, note=int(DoubtNote.ACCEPTED_LATE))
    held = claimed(store)
    assert begin(store, held, [[0]]) is None
    assert states(store) == ["pending"] * 5 + ["submitted", "suppressed", "pending"]
    held = claimed(store)
    begin(store, held, [[0]])
    with store.write() as conn:
        erased_numbers.add_erased(conn, FIRST_NUMBER, actor="asha", now=NOW)
    assert begin(store, held, [[3]], is_first=False) is not None
    assert states(store)[4:] == ["pending", "submitted", "suppressed", "pending"]


def test_opt_outs_do_not_write_an_erased_number_down_again(store):
    erase(store)
    assert add_listed(store, NUMBER, NUMBER + 1) == 1
    assert [row.msisdn for row in rows(store, SUPPRESSION)] == [NUMBER + 1]
    with store.write() as conn:
        (entry,) = suppressions.find_entries(conn, [NUMBER])
        assert (entry.source, entry.reason) == ("erase", None)
        assert suppressions.remove_numbers(conn, [NUMBER, NUMBER + 1], ANY_ACCOUNT) == [
            NUMBER,
            NUMBER + 1,
        ]
    assert erased(store, NUMBER) == []


def test_the_key_is_made_once_and_hashes_of_two_stores_differ(store):
    erase(store)
    with store.read() as conn:
        key = erased_numbers.load_key(conn)
    erase(store, NUMBER + 1)
    assert erased(store, NUMBER, NUMBER + 1, NUMBER + 2) == [NUMBER, NUMBER + 1]
    with store.read() as conn:
        assert erased_numbers.load_key(conn) == key
    one, other = (erased_numbers.hash_number(NUMBER, key=bytes([n]) * 32) for n in (1, 2))
    assert one != other
    assert 0 <= one < 2**63


# --- As a person meets it ---------------------------------------------------------------------


@pytest.fixture
def shell(sqlite_url, tmp_path):
    config = write_config(tmp_path, sqlite_url)

    def run(*args):
        return in_process("--config", str(config), *args, folder=tmp_path)

    return run


def test_the_command_says_what_goes_takes_any_spelling_and_shows_no_number(sqlite_store, shell):
    campaign = add_campaign(sqlite_store, [2])
    end(sqlite_store, campaign)
    shown = shell("erase", "098000 00000", "--dry-run")
    assert (shown.code, shown.out.splitlines()) == (
        0,
        [
            "9198••••0000: 1 message, 0 rejected rows, 0 entries of the suppression list",
            "campaigns: 1",
        ],
    )
    said = json.loads(shell("erase", "+91-98000-00000", "--json").out)
    assert (said["erased"], said["messages"]) == (True, 1)
    assert "is not erased" not in shell("erase", "9800000000").out
    checked = shell("suppression", "check", "9800000000")
    assert "must not be texted for all accounts" in checked.out
    assert "1 erased number" in shell("suppression", "list").out
    found = shell("campaign", "export", str(campaign))
    assert [line.split(",")[2] for line in found.out.splitlines()[1:]] == ["", "919800000001"]
    assert "nothing was ever sent" in shell("campaign", "find", "9800000000").out
    assert shell("campaign", "report", str(campaign)).code == 0
    assert shell("campaign", "failures", str(campaign)).code == 0
    audit = shell("audit").out
    assert "number erased" in audit
    assert "9800000000" not in audit
