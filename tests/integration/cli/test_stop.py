"""`dispatcher stop` and `go`: what they say, and where else it is shown that all is stopped."""

import json

import pytest

from dispatcher.store.audit import current_person
from dispatcher.store.tables import AUDIT
from tests.support.cli import in_process
from tests.support.stores import add_account, add_campaign, rows, submitting

ACCOUNT = """
[accounts.{name}]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
sender = "SENDER"
template = "TEMPLATE"
"""
AT_PROVIDER = (
    "main: 1 request with 3 recipients at the provider cannot be recalled; answers are "
    "stored until 2030-05-06 12:01:15 UTC, what has none then is in doubt"
)


@pytest.fixture
def run(sqlite_store, tmp_path):
    """`dispatcher ARGS` with the accounts `main` and `other`."""
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    accounts = "".join(ACCOUNT.format(name=name) for name in ("main", "other"))
    store = f'[store]\nurl = "sqlite:///{sqlite_store.url.database}"\n'
    config.write_text(store + accounts, encoding="utf-8")

    def command(*args):
        return in_process("--config", str(config), *args, folder=tmp_path)

    return command


def test_stop_says_what_is_under_way_and_how_to_go_on(run, sqlite_store):
    add_campaign(sqlite_store)
    submitting(sqlite_store)
    ended = run("stop", "--reason", "wrong text")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "everything is stopped (2 accounts)",
        AT_PROVIDER,
        "`dispatcher go` continues",
    ]
    again = run("stop")
    assert f"stopped before: main, other (by {current_person()} since " in again.out
    ended = run("go")
    assert (ended.code, ended.out) == (0, "2 accounts are no longer stopped\n")
    assert run("go").out == "nothing was stopped\n"
    assert [(row.action, row.actor) for row in rows(sqlite_store, AUDIT)][-2:] == [
        ("stop", current_person()), ("go", current_person()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [["campaign", "list"], ["campaign", "show", "1"], ["account", "list"], ["doctor"]],
    ids=" ".join,
)
def test_it_is_shown_that_everything_is_stopped(run, sqlite_store, command):
    add_campaign(sqlite_store)
    run("stop", "--reason", "wrong text")
    ended = run(*command)
    said = f"EVERYTHING IS STOPPED by {current_person()} since "
    assert said in ended.out + ended.err
    assert "wrong text" in ended.out + ended.err
    run("go")
    ended = run(*command)
    assert "STOPPED" not in ended.out + ended.err


def test_show_and_watch_name_the_stop_as_what_is_waited_for(run, sqlite_store):
    add_campaign(sqlite_store)
    run("stop")
    shown = json.loads(run("campaign", "show", "1", "--json").out)
    assert shown["account_stopped_by"] == current_person()
    assert shown["account_stopped_at"] is not None
    waits = f"account main waits for `dispatcher go` (by {current_person()} at "
    assert waits in run("campaign", "show", "1").out


def test_one_account_is_stopped_and_the_other_stays_open(run, sqlite_store):
    add_account(sqlite_store, "main", paused_by="operator", pause_reason="maintenance")
    stopped = json.loads(run("stop", "--account", "main", "--json").out)
    assert (stopped["all_stopped"], stopped["at_providers"]) == (False, [])
    (one,) = stopped["accounts"]
    assert (one["account"], one["is_new"], one["paused_by"]) == ("main", True, "operator")
    listed = {row["account"]: row for row in json.loads(run("account", "list", "--json").out)}
    assert {name: row["state"] for name, row in listed.items()} == {
        "main": "stopped", "other": "open",
    }  # fmt: skip
    assert listed["main"]["paused_by"] == "operator"
    resumed = run("account", "resume", "main")
    assert "main is no longer paused; it is stopped: `dispatcher go --account main`" in resumed.out
    run("account", "pause", "main", "--reason", "maintenance")
    started = run("go", "--account", "main")
    assert started.out.splitlines() == [
        "1 account is no longer stopped",
        "main stays paused (operator): maintenance",
    ]


def test_json_of_go_names_what_stays_stopped(run):
    run("stop")
    assert json.loads(run("go", "--account", "main", "--json").out) == {
        "started": ["main"], "paused": [], "stopped": ["other"], "all_stopped": True,
    }  # fmt: skip
    assert "still stopped: other" not in run("go").out


@pytest.mark.parametrize("command", ["stop", "go"])
def test_an_unknown_account_is_refused(run, command):
    ended = run(command, "--account", "mian")
    assert (ended.code, ended.out) == (2, "")
    assert "mian" in ended.err
