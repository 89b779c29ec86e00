"""`campaign pause`, `resume`, `cancel` and `set`: what cannot be changed is refused with exit 3."""

import json
from datetime import timedelta

import pytest

from dispatcher.status import CampaignState
from dispatcher.store.engine import store_now
from tests.support.cli import clean_environment, in_process, write_config
from tests.support.stores import NOW, add_campaign, campaign_of
from tests.support.terminal import on_terminal

LONG_AGO = NOW.replace(year=2020)
OVER = [CampaignState.FINISHED, CampaignState.CANCELLED, CampaignState.REJECTED]


@pytest.fixture
def run(sqlite_url, tmp_path):
    """`campaign COMMAND 1 OPTIONS`; the one campaign of the store is the first."""
    config = write_config(tmp_path, sqlite_url)

    def command(name, *options, which=("1",)):
        given = ("--config", str(config), "campaign", name, *which, *options)
        return in_process(*given, folder=tmp_path)

    return command


@pytest.mark.parametrize(
    ("state", "command", "told"),
    [
        *[(state, ["pause"], f"is {state} and cannot be paused") for state in OVER],
        *[(state, ["resume"], f"is {state} and cannot be resumed") for state in OVER],
        *[(state, ["set", "--rate", "5/s"], f"is {state} and cannot be changed") for state in OVER],
        # What is given does not matter then.
        (CampaignState.FINISHED, ["set", "--rate", "fast"], "is finished and cannot be changed"),
        (CampaignState.FINISHED, ["set"], "is finished and cannot be changed"),
        (CampaignState.RUNNING, ["resume"], "is running and cannot be resumed"),
        (CampaignState.FINISHED, ["cancel", "--yes"], "is finished and cannot be cancelled"),
    ],
    ids=str,
)
def test_what_cannot_be_changed_says_so_and_stays(sqlite_store, run, state, command, told):
    over = {"finished_at": NOW} if state in OVER else {}
    add_campaign(sqlite_store, state=state, **over)
    before = campaign_of(sqlite_store, 1)
    ended = run(*command)
    assert ended.code == 3
    assert ended.err.startswith(f"Error: campaign 1 {told}\nHint: only a campaign that is ")
    assert ended.out == ""
    assert campaign_of(sqlite_store, 1) == before


@pytest.mark.parametrize("command", [["pause"], ["set", "--rate", "5/s"]], ids=str)
def test_an_import_that_was_broken_off_says_how_to_replace_it(sqlite_store, run, command):
    add_campaign(sqlite_store, state=CampaignState.IMPORTING)
    ended, shown = run(*command), run("show")
    assert ended.code == 3
    assert "is importing and cannot be" in ended.err
    for said in (ended.err, shown.out):
        assert "submit the same file again to replace it" in said
        assert "`dispatcher campaign cancel`" in " ".join(said.split())


def test_an_import_that_was_broken_off_can_be_cancelled_and_says_so(sqlite_store, run):
    add_campaign(sqlite_store, [2], state=CampaignState.IMPORTING, import_lease_until=LONG_AGO)
    assert "its file again" in run("list", which=()).out
    ended = run("cancel", "--yes")
    words = "campaign 1 is cancelled: its import is discarded, and nothing of it was sent\n"
    assert (ended.code, ended.out) == (0, words)
    assert "0 to send" in run("show").out
    listed = json.loads(run("list", "--json", which=()).out)
    assert [(one["state"], one["counts"]["total"]) for one in listed] == [("cancelled", 0)]


def test_json_says_that_a_broken_off_import_is_cancelled(sqlite_store, run):
    add_campaign(sqlite_store, [2], state=CampaignState.IMPORTING, import_lease_until=LONG_AGO)
    told = json.loads(run("cancel", "--yes", "--json").out)
    assert told["state"] == "cancelled"
    assert {name: n for name, n in told["counts"].items() if n} == {}
    assert set(told["batches"].values()) == {0}


@pytest.mark.parametrize("which", [["--all"], ["--account", "main"], ["1", "2", "3"]], ids=str)
def test_all_are_cancelled_with_imports_that_were_broken_off_but_none_that_runs(
    sqlite_store, run, which
):
    with sqlite_store.read() as conn:
        soon = store_now(conn) + timedelta(minutes=4)
    add_campaign(sqlite_store, state=CampaignState.RUNNING)
    add_campaign(sqlite_store, state=CampaignState.IMPORTING, import_lease_until=LONG_AGO)
    add_campaign(sqlite_store, state=CampaignState.IMPORTING, import_lease_until=soon)
    ended = run("cancel", "--yes", which=which)
    found = [campaign_of(sqlite_store, number).state for number in (1, 2, 3)]
    assert found == ["cancelled", "cancelled", "importing"]
    is_named = "3" in which
    assert ended.code == (1 if is_named else 0)
    assert ("campaign 3 is importing: its file is being read right now" in ended.err) is is_named


PAUSED = "paused; `dispatcher campaign resume 1` continues"


@pytest.mark.parametrize(
    ("state", "command", "becomes"),
    [
        (CampaignState.RUNNING, "pause", PAUSED),
        (CampaignState.PAUSED, "pause", PAUSED),
        (CampaignState.PAUSED, "resume", "scheduled"),
    ],
)
def test_what_can_be_changed_says_what_it_is_now(sqlite_store, run, state, command, becomes):
    add_campaign(sqlite_store, state=state)
    ended = run(command)
    assert (ended.code, ended.out) == (0, f"campaign 1 is {becomes}\n")
    assert campaign_of(sqlite_store, 1).state == becomes.partition(";")[0]


def test_a_name_with_a_typo_is_corrected(sqlite_store, run):
    add_campaign(sqlite_store, name="spring sale")
    ended = run("pause", "sprign sale")
    assert ended.code == 2
    assert "there is no campaign 'sprign sale'" in ended.err
    assert "did you mean 'spring sale'?" in ended.err


# --- Several at once --------------------------------------------------------------------------


@pytest.fixture
def five(sqlite_store):
    """Campaigns 1 to 5: two of `main`, one paused of it, one that is over, and one of `other`."""
    for state, account in [
        (CampaignState.RUNNING, "main"), (CampaignState.SCHEDULED, "main"),
        (CampaignState.PAUSED, "main"), (CampaignState.FINISHED, "main"),
        (CampaignState.RUNNING, "other"),
    ]:  # fmt: skip
        over = {"finished_at": NOW} if state in OVER else {}
        add_campaign(sqlite_store, state=state, account=account, **over)

    return lambda: [campaign_of(sqlite_store, number).state for number in range(1, 6)]


@pytest.mark.parametrize(
    ("command", "which", "code", "becomes"),
    [
        ("pause", ["--all"], 0, "paused paused paused finished paused"),
        ("pause", ["--account", "main"], 0, "paused paused paused finished running"),
        ("pause", ["--account", "other", "--account", "main"], 0,
         "paused paused paused finished paused"),
        ("pause", ["1", "2", "1"], 0, "paused paused paused finished running"),
        ("pause", ["1", "4"], 1, "paused scheduled paused finished running"),
        ("pause", ["4", "4"], 3, "running scheduled paused finished running"),
        ("pause", ["1", "9"], 2, "running scheduled paused finished running"),
        ("resume", ["--all"], 0, "running scheduled scheduled finished running"),
        ("resume", ["1", "3"], 1, "running scheduled scheduled finished running"),
        ("cancel", ["--all"], 0, "cancelled cancelled cancelled finished cancelled"),
        ("cancel", ["--account", "other", "--yes"], 0,
         "running scheduled paused finished cancelled"),
        ("cancel", ["3", "5"], 0, "running scheduled cancelled finished cancelled"),
    ],
    ids=str,
)  # fmt: skip
def test_several_are_changed_and_each_that_is_not_is_named(
    run, five, command, which, code, becomes
):
    ended = run(command, which=which)
    assert ended.code == code, ended.err
    assert " ".join(five()) == becomes
    for refused in {"1": code == 1 and command == "resume", "4": "4" in which}.items():
        assert (f"not changed: campaign {refused[0]} is" in ended.err) == refused[1]


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ([], "no campaign is named"),
        (["1", "--all"], "campaigns are named, and --all or --account is given too"),
        (["--account", "mian"], "mian"),
        (["--account", ""], "--account is empty"),
    ],
    ids=str,
)
def test_which_campaigns_must_be_clear(run, five, which, told):
    before = five()
    ended = run("cancel", "--yes", which=which)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert five() == before


def test_json_of_several_has_an_error_for_each_that_stays(run, five):
    ended = run("pause", "--json", which=["2", "4"])
    report = json.loads(ended.out)
    assert [(one["id"], one["state"], one["error"]) for one in report] == [
        (2, "paused", None),
        (4, "finished", "campaign 4 is finished and cannot be paused"),
    ]


def test_where_nothing_can_be_changed_that_is_said(run):
    ended = run("resume", which=["--all"])
    assert (ended.code, ended.out) == (
        0, "there is no such campaign in a state that this could change\n",
    )  # fmt: skip
    assert json.loads(run("resume", "--json", which=["--all"]).out) == []


def test_the_question_before_a_cancel_names_all_of_them(run, five, tmp_path):
    code = "from dispatcher.cli import main; main()"
    command = ["campaign", "cancel", "--account", "main"]
    config = ["--config", str(tmp_path / "dispatcher.toml")]
    asked = on_terminal(
        ["-c", code, *config, *command],
        typed="n\n", after="[y/N]", columns=200, env=clean_environment(tmp_path),
    )  # fmt: skip
    named = "Cancel 3 campaigns: 1 (spring), 2 (spring), 3 (spring)"
    assert f"{named} (9 recipients are not submitted yet)? [y/N]" in asked.shown
    assert (asked.code, "nothing was changed" in asked.shown) == (3, True)
    assert "cancelled" not in five()
