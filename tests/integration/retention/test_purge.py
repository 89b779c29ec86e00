"""Purges: numbers and texts go, counts and decisions stay, and what is open is left alone."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from dispatcher.retention.purge import plan_purge, run_purge
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaign_search, purges
from dispatcher.store.tables import (
    ALTERNATE_ID,
    ATTEMPT,
    AUDIT,
    BATCH,
    CAMPAIGN,
    FORMER_OUTCOME,
    MESSAGE,
    REJECT,
    SOURCE_ROWS,
)
from tests.support.cli import in_process, write_config
from tests.support.retention import ENDED, end, everything
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_attempt,
    add_campaign,
    audit,
    campaign_of,
    change,
    counts_of,
    later,
    order,
    rows,
    submit,
)

BEFORE = ENDED + timedelta(days=1)
#: What a file may hold of its recipients.
PERSONAL = ("9800000001", "Asha", "98000 00009", "words about 9800000001")


def ended_campaign(store, **values):
    campaign = add_campaign(store, [3, 2])
    end(store, campaign, **values)
    return campaign


def purge(store, before=BEFORE):
    return run_purge(store, plan_purge(store, before))


def real_campaign(store):
    """A campaign of a file, of which everything was kept that can be, and that has ended."""
    file = "phone,name\n9800000001,Asha\n9800000002,Ravi\n98000 00009x,Asha\n"
    campaign = submit(store, order(file, text="Hi {{name}}"))
    end(store, campaign)
    with store.write() as conn:
        attempt = add_attempt(conn, campaign_id=campaign, batch_id=rows(store, BATCH)[0].id,
                              error="words about 9800000001")  # fmt: skip
        change(conn, MESSAGE, MESSAGE.c.seq == 0, attempt_id=attempt, attempts=2)
        same = {"campaign_id": campaign, "seq": 0, "msisdn": 919800000001, "at": NOW}
        conn.execute(
            ALTERNATE_ID.insert().values(
                account="main", provider_message_id="id-1", attempt_id=attempt, **same
            )
        )
        conn.execute(
            FORMER_OUTCOME.insert().values(
                state=MessageState.FAILED, error="words about 9800000001", **same
            )
        )
    return campaign


def test_numbers_and_texts_go_and_counts_requests_and_audit_stay(store):
    campaign = real_campaign(store)
    before = campaign_of(store, campaign)
    counts = counts_of(store, campaign)
    assert all(words in everything(store) for words in PERSONAL[:2])
    done = purge(store)
    assert (done.campaigns, done.messages, done.rejects) == ([campaign], 2, 1)
    assert not [words for words in (*PERSONAL, "Hi {{name}}") if words in everything(store)]
    for table in (MESSAGE, REJECT, SOURCE_ROWS, ALTERNATE_ID):
        assert rows(store, table) == []
    assert counts_of(store, campaign) == counts
    assert len(rows(store, ATTEMPT)) == len(rows(store, FORMER_OUTCOME)) == 1
    after = campaign_of(store, campaign)
    assert (after.text, after.columns) == ("", "[]")
    same = ("rows", "total", "invalid", "parts", "content_key", "state", "finished_at")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert after.purged_at is not None
    last = rows(store, AUDIT)[-1]
    assert (last.action, last.campaign_id) == ("campaign purged", campaign)
    assert "2 recipients" in last.detail


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({}, True),
        ({"state": CampaignState.CANCELLED, "message": MessageState.CANCELLED}, True),
        ({"at": BEFORE + timedelta(seconds=1)}, False),
        ({"message": MessageState.IN_DOUBT}, False),
    ],
)
def test_campaigns_go_that_ended_before_and_of_which_nothing_is_open(store, values, gone):
    campaign = ended_campaign(store, **values)
    open_one = add_campaign(store, [1], first=FIRST_NUMBER + 50)
    assert purge(store).campaigns == ([campaign] if gone else [])
    assert (campaign_of(store, campaign).purged_at is not None) == gone
    assert campaign_of(store, open_one).purged_at is None
    assert purge(store).campaigns == []


def test_a_campaign_whose_requests_are_still_asked_about_is_kept_and_named(store):
    campaign = ended_campaign(store)
    with store.write() as conn:
        add_attempt(conn, campaign_id=campaign, batch_id=99, poll_at=later(60))
    plan = plan_purge(store, BEFORE)
    assert [(one.id, one.polls, one.in_doubt) for one in plan.kept] == [(campaign, 1, 0)]
    assert plan.campaigns == []


def test_a_campaign_that_was_opened_again_since_the_plan_is_left_alone(store):
    campaign = ended_campaign(store)
    plan = plan_purge(store, BEFORE)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state="scheduled", finished_at=None)
    assert run_purge(store, plan).campaigns == []
    assert len(rows(store, MESSAGE)) == 5


def test_a_purge_that_was_killed_is_ended_by_the_next_one(store):
    campaign = ended_campaign(store)
    plan = plan_purge(store, BEFORE)
    with store.write() as conn:
        assert purges.mark_purged(conn, plan.campaigns[0], now=NOW, actor="asha@mail1")
    again = plan_purge(store, BEFORE)
    assert (again.begun, again.campaigns) == ([campaign], [])
    assert run_purge(store, again).messages == 5
    assert plan_purge(store, BEFORE).begun == []
    assert audit(store).count("campaign purged") == 1


def test_slices_hold_whole_batches(store):
    campaign = add_campaign(store, [3, 2, 4, 1])
    with store.read() as conn:
        found = purges.list_slices(conn, campaign, size=5)
    assert [(one.first_seq, one.last_seq) for one in found] == [(0, 4), (5, 9)]
    end(store, campaign)
    with store.write() as conn:
        assert purges.drop_messages(conn, campaign, found[1]) == 5
    assert [row.seq for row in rows(store, MESSAGE)] == [0, 1, 2, 3, 4]
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, purged_at=NOW)


def test_the_same_content_is_still_recognised(store):
    campaign = ended_campaign(store)
    purge(store)
    with store.read() as conn:
        same = campaign_search.find_same_content(conn, ["content"], NOW - timedelta(days=1))
        assert same.id == campaign


def test_sqlite_keeps_nothing_of_it_in_the_file(sqlite_store):
    real_campaign(sqlite_store)
    purge(sqlite_store)
    with sqlite_store.write() as conn:
        conn.execute(text("SELECT 1"))
    sqlite_store.close()
    assert b"Asha" not in Path(sqlite_store.url.database).read_bytes()


# --- As a person meets it ---------------------------------------------------------------------


@pytest.fixture
def shell(sqlite_url, tmp_path):
    """Runs commands on the store; each is a line."""
    config = write_config(tmp_path, sqlite_url)

    def run(line):
        return in_process("--config", str(config), *line.split(), folder=tmp_path)

    return run


def test_the_command_says_what_goes_and_what_is_kept(sqlite_store, shell):
    campaign = ended_campaign(sqlite_store)
    doubtful = add_campaign(sqlite_store, [1], first=FIRST_NUMBER + 50)
    end(sqlite_store, doubtful, message=MessageState.IN_DOUBT)
    shown = shell("purge --older-than 0d --dry-run")
    assert f"kept: campaign {doubtful}, 1 recipient is in doubt" in shown.out
    assert rows(sqlite_store, MESSAGE)[0].campaign_id == campaign
    said = json.loads(shell("purge --older-than 0d --json").out)
    assert (said["purged"], said["messages"], [one["id"] for one in said["kept"]]) == (
        [campaign], 5, [doubtful],
    )  # fmt: skip
    assert "no campaign that ended before" in shell("purge --older-than 0d").out


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("campaign export {}", 3, "was purged on 20"),
        ("campaign failures {}", 3, "was purged on 20"),
        ("campaign retry {} --yes", 3, "was purged on 20"),
        ("campaign show {}", 0, "purged on 20"),
        ("campaign report {}", 0, "purged on 20"),
        ("campaign find +919800000000", 0, "1 campaign was purged"),
        ("campaign list", 0, "spring"),
    ],
)
def test_commands_say_that_a_campaign_was_purged(sqlite_store, shell, command, code, said):
    campaign = ended_campaign(sqlite_store)
    purge(sqlite_store)
    ended = shell(command.format(campaign))
    assert (ended.code, said in ended.out + ended.err) == (code, True), ended


@pytest.mark.parametrize("age", ["90", "", "soon", "99999999999d", "-1d"])
def test_an_age_that_is_none_is_refused(shell, age):
    ended = shell(f"purge --older-than={age}")
    assert (ended.code, ended.out) == (2, "")
