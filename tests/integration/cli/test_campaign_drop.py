"""`campaign drop`: only who is pending, and in no worker's hands, is taken out."""

import json

import pytest

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import drops
from dispatcher.store.locks import lock_campaign
from dispatcher.store.tables import AUDIT, MESSAGE
from tests.support.cli import in_process
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    batch_of,
    begin,
    change,
    claimed,
    counts_of,
    queued,
    rows,
    settle,
    states,
    submitted,
    verdict,
)
from tests.support.workbooks import sheet_of, xlsx

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
"""


def drop(store, campaign_id, *places):
    """What becomes of these seqs' numbers."""
    with store.write() as conn:
        campaign = lock_campaign(conn, campaign_id)
        numbers = [FIRST_NUMBER + place for place in places]
        outcomes = drops.drop_recipients(conn, campaign, numbers, NOW)
    return {number - FIRST_NUMBER: outcome for number, outcome in outcomes.items()}


def test_pending_recipients_are_cancelled_and_the_others_go_on(store):
    campaign = add_campaign(store, [3, 2])
    other = add_campaign(store, [3], first=FIRST_NUMBER)
    queued(store)
    assert drop(store, campaign, 1, 4, 77) == {1: "dropped", 4: "dropped", 77: "missing"}
    assert states(store, campaign) == ["pending", "cancelled", "pending", "pending", "cancelled"]
    assert states(store, other) == ["pending"] * 3
    assert counts_of(store, campaign) == {"pending": 3, "cancelled": 2}
    dropped = rows(store, MESSAGE, MESSAGE.c.campaign_id == campaign)[1]
    assert (dropped.final_at, dropped.error) == (NOW, drops.DROPPED)
    assert batch_of(store, 1).state == BatchState.QUEUED
    assert drop(store, campaign, 1) == {1: "cancelled"}


def test_a_batch_without_anybody_left_is_settled(store):
    campaign = add_campaign(store, [2, 1])
    assert drop(store, campaign, 0, 1) == {0: "dropped", 1: "dropped"}
    assert batch_of(store, 1).state == BatchState.SETTLED
    assert batch_of(store, 2).state == BatchState.PENDING


def test_who_is_in_a_workers_hands_stays(store):
    campaign = add_campaign(store, [2])
    held = claimed(store)
    assert drop(store, campaign, 0) == {0: "in_flight"}
    (attempt,) = begin(store, held)
    assert drop(store, campaign, 1) == {1: "in_flight"}
    settle(store, held, attempt, verdict(accepted=[0], doubtful=[1]))
    assert drop(store, campaign, 0, 1) == {0: "submitted", 1: "in_doubt"}
    assert states(store) == ["submitted", "in_doubt"]


def test_a_late_answer_is_worth_more(store):
    campaign = add_campaign(store, [2])
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 0, note=int(DoubtNote.ACCEPTED_LATE))
    assert drop(store, campaign, 0) == {0: "submitted"}
    assert states(store) == ["submitted", "pending"]


# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def run(sqlite_store, tmp_path):
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")

    def command(*args):
        given = ("--config", str(config), "campaign", "drop", "1", *args)
        return in_process(*given, folder=tmp_path)

    return command


def test_numbers_may_be_written_in_any_way_and_come_from_a_file(run, sqlite_store, tmp_path):
    add_campaign(sqlite_store, [5])
    people = tmp_path / "out.csv"
    people.write_text("phone\n98000 00002\n+919800000003\n", encoding="utf-8")
    ended = run("9800000000", "+91 98000-00001", "--file", str(people))
    assert (ended.code, ended.out) == (0, "campaign 1: 4 recipients dropped\n")
    assert states(sqlite_store) == ["cancelled"] * 4 + ["pending"]
    assert [(r.action, r.detail) for r in rows(sqlite_store, AUDIT)] == [
        ("campaign drop", "4 recipients")
    ]


def test_who_cannot_be_dropped_is_named_with_the_reason(run, sqlite_store):
    add_campaign(sqlite_store, [1, 1])
    submitted(sqlite_store)
    ended = run(str(FIRST_NUMBER), str(FIRST_NUMBER + 1), str(FIRST_NUMBER + 2))
    assert (ended.code, ended.out) == (1, "campaign 1: 1 recipient dropped\n")
    assert ended.err.splitlines() == [
        f"+{FIRST_NUMBER} is submitted already",
        f"+{FIRST_NUMBER + 2} is not a recipient of this campaign",
    ]
    none = run(str(FIRST_NUMBER), "--json")
    assert none.code == 3
    assert json.loads(none.out) == {
        "id": 1, "dropped": 0, "numbers": [{"msisdn": FIRST_NUMBER, "outcome": "submitted"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ([], 2, "no number is given"),
        (["12"], 2, "NUMBER: "),
        (["9800000000", "--file", "bad.csv"], 3, "bad.csv, row 3: "),
        (["--file", "two.xlsx"], 3, "2 sheets of the workbook have data"),
        (["--file", "two.xlsx", "--sheet", "May"], 3, "has no sheet 'May'"),
    ],
)
def test_a_mistake_drops_nobody(run, sqlite_store, tmp_path, monkeypatch, args, code, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("phone\n9800000001\n12\n", encoding="utf-8")
    sheet = sheet_of([["phone"], ["+919800000001"]])
    xlsx(tmp_path / "two.xlsx", {"Jan": sheet, "Feb": sheet})
    add_campaign(sqlite_store, [2])
    ended = run(*args)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert states(sqlite_store) == ["pending"] * 2


def test_of_a_campaign_that_is_over_nobody_can_be_dropped(run, sqlite_store):
    add_campaign(sqlite_store, [1], state=CampaignState.FINISHED, finished_at=NOW)
    ended = run(str(FIRST_NUMBER))
    assert ended.code == 3
    assert "campaign 1 is finished and cannot be changed" in ended.err
