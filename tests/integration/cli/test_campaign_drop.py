"""`campaign drop`: only who is pending, and in no worker's hands, is taken out."""

import json

import pytest

from dispatcher.status import CampaignState
from dispatcher.store.tables import AUDIT
from tests.support.cli import in_process, write_config
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    rows,
    states,
    submitted,
)
from tests.support.workbooks import sheet_of, xlsx

# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def run(sqlite_url, tmp_path):
    config = write_config(tmp_path, sqlite_url)

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
        (["9800000000", "12", "9800000001"], 2, "NUMBER 2 of 3: "),
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
