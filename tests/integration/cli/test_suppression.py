"""`dispatcher suppression …`: the list, its files, and what submissions say of it."""

import json

import pytest

from dispatcher.store.audit import current_person
from dispatcher.store.tables import AUDIT, REJECT
from tests.support.cli import in_process
from tests.support.stores import rows, states
from tests.support.workbooks import sheet_of, xlsx

CONFIG = """
[store]
url = "{url}"
[accounts.main]
provider = "aoc_portal"
api_key = "a-key-of-a-test"
sender = "SENDER"
country = "IN"
base_url = "http://127.0.0.1:9"
[accounts.other]
provider = "aoc_portal"
api_key = "a-key-of-a-test"
sender = "SENDER"
country = "IN"
base_url = "http://127.0.0.1:9"
{more}
"""
ASHA, RAVI, MIRA = 919820011223, 919820011224, 919820011225


@pytest.fixture
def run(sqlite_store, tmp_path):
    """`dispatcher ARGS`; `more` is added to the configuration."""
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    shown = f"sqlite:///{sqlite_store.url.database}"

    def command(*args, more=""):
        config.write_text(CONFIG.format(url=shown, more=more), encoding="utf-8")
        return in_process("--config", str(config), *args, folder=tmp_path)

    return command


@pytest.fixture
def people(tmp_path):
    def write(*numbers, name="people.csv"):
        path = tmp_path / name
        path.write_text("phone\n" + "".join(f"{n}\n" for n in numbers), encoding="utf-8")
        return str(path)

    return write


def as_json(ended, code=0):
    assert ended.code == code, ended.err
    return json.loads(ended.out)


# --- The list ---------------------------------------------------------------------------------


def test_a_number_is_added_checked_and_removed_however_it_is_written(run, sqlite_store):
    assert run("suppression", "check", "9820011223").out == (
        f"+{ASHA} is not on the list for all accounts\n"
    )
    ended = run("suppression", "add", "+91 98200-11223", "09820011223", "--reason", "STOP")
    assert ended.out == "1 number added for all accounts: no request to it begins any more\n"
    checked = run("suppression", "check", "9820011223")
    assert checked.out.startswith(f"+{ASHA} must not be texted for all accounts since 20")
    assert checked.out.endswith(f" Asia/Kolkata: STOP (from cli, by {current_person()})\n")
    again = run("suppression", "add", str(ASHA), "--reason", "again")
    assert "1 was on the list before" in again.out
    (entry,) = as_json(run("suppression", "check", str(ASHA), "--json"))["entries"]
    assert (entry["reason"], entry["account"]) == ("STOP", None)
    assert run("suppression", "remove", "98200 11223").out == "1 number removed for all accounts\n"
    gone = run("suppression", "remove", "9820011223")
    assert (gone.code, gone.out) == (3, "")
    assert "none of the numbers is on the list for all accounts" in gone.err
    made = [(row.action, row.detail) for row in rows(sqlite_store, AUDIT)]
    assert made == [
        ("suppression add", "9198••••1223: STOP"),
        ("suppression add", "9198••••1223: again"),
        ("suppression remove", "9198••••1223"),
    ]


def test_an_entry_for_one_account_is_its_own(run):
    run("suppression", "add", str(ASHA), "--account", "main")
    assert "main" in run("suppression", "check", str(ASHA)).out
    other = as_json(run("suppression", "check", str(ASHA), "--account", "other", "--json"))
    assert other == {"msisdn": ASHA, "suppressed": False, "entries": []}
    left = run("suppression", "remove", str(ASHA))
    assert left.code == 3
    assert left.out == f"+{ASHA} is still on the list for account main\n"
    listed = as_json(run("suppression", "list", "--json"))
    assert listed["counts"] == {"main": 1}
    assert "1 number for account main" in run("suppression", "list").out
    assert run("suppression", "remove", str(ASHA), "--account", "main").code == 0
    assert run("suppression", "list").out == "the list is empty\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["add", "12"], "NUMBER: "),
        (["add", str(ASHA), "12"], "NUMBER 2 of 2: "),
        (["add", str(ASHA), "--account", "mian"], "mian"),
        (["check", "98200 11223", "--country", "XX"], "XX"),
    ],
    ids=str,
)
def test_what_is_not_clear_is_refused_and_changes_nothing(run, sqlite_store, args, told):
    ended = run("suppression", *args)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert rows(sqlite_store, AUDIT) == []


# --- Files ------------------------------------------------------------------------------------


def test_a_file_is_imported_exported_and_imported_elsewhere(run, people, tmp_path):
    given = people("9820011223", "+91 98200 11224", "9820011223", "12")
    done = as_json(run("suppression", "import", given, "--reason", "STOP", "--json"), code=1)
    assert done["rejects"][0]["row"] == 5
    counts = {name: done[name] for name in ("rows", "added", "known", "duplicate", "invalid")}
    assert counts == {"rows": 4, "added": 2, "known": 0, "duplicate": 1, "invalid": 1}
    shown = run("suppression", "import", given)
    assert "0 added, 2 on the list before, 1 duplicate, 1 invalid" in shown.out
    assert "row 5: " in shown.err
    exported = tmp_path / "list.csv"
    assert "2 numbers written" in run("suppression", "export", "-o", str(exported)).out
    header, first, second = exported.read_text(encoding="utf-8").splitlines()
    assert header == "number,account,since,reason,source,by"
    assert first.startswith(f"{ASHA},,20")
    assert f",STOP,people.csv,{current_person()}" in second
    back = as_json(run("suppression", "import", str(exported), "--account", "main", "--json"))
    assert (back["column"], back["added"]) == ("number", 2)
    only = run("suppression", "export", "--account", "main").out.splitlines()
    assert [line.split(",")[:2] for line in only[1:]] == [
        [str(ASHA), "main"], [str(RAVI), "main"],
    ]  # fmt: skip


def test_of_a_workbook_with_several_sheets_no_opt_out_is_left_unread(run, tmp_path):
    sheets = {
        name: sheet_of([["phone"], [f"+{number}"]])
        for name, number in (("Jan", ASHA), ("Feb", RAVI))
    }
    given = ["suppression", "import", str(xlsx(tmp_path / "optouts.xlsx", sheets))]
    refused = run(*given)
    assert refused.code == 3
    assert "2 sheets of the workbook have data: 'Jan' (2 rows), 'Feb' (2 rows)" in refused.err
    assert as_json(run("suppression", "list", "--json"))["newest"] == []
    for name, number in (("Feb", RAVI), ("1", ASHA)):
        assert as_json(run(*given, "--sheet", name, "--json"))["added"] == 1
        assert as_json(run("suppression", "check", f"+{number}", "--json"))["suppressed"]


# --- Submissions ------------------------------------------------------------------------------


def submit(run, people, *args, numbers=(ASHA, RAVI, MIRA), **more):
    given = ["campaign", "submit", people(*numbers), "--account", "main", "--text", "Hello"]
    return run(*given, *args, **more)


def test_who_is_on_the_list_gets_no_message_and_is_counted(run, people, sqlite_store):
    run("suppression", "add", str(RAVI))
    run("suppression", "add", str(MIRA), "--account", "other")
    dry = as_json(submit(run, people, "--dry-run", "--json"))
    assert (dry["counts"]["total"], dry["counts"]["suppressed"]) == (2, 1)
    shown = submit(run, people, "--dry-run").out
    assert "2 to send, 1 suppressed" in shown
    counts = as_json(submit(run, people, "--json"))["counts"]
    assert (counts["total"], counts["suppressed"], counts["pending"]) == (2, 1, 2)
    (reject,) = rows(sqlite_store, REJECT)
    assert (reject.msisdn, reject.kind) == (RAVI, 2)
    assert "the number is on the suppression list" in reject.reason
    exported = run("campaign", "export", "1").out
    assert f",{RAVI},suppressed," in exported
    assert "1 suppressed" in run("campaign", "show", "1").out


def test_the_same_file_stays_the_same_after_an_opt_out(run, people):
    assert submit(run, people).code == 0
    run("suppression", "add", str(RAVI))
    again = submit(run, people)
    assert again.code == 3
    assert "the same recipients and text were submitted as campaign 1" in again.err


def test_a_campaign_of_which_all_opted_out_is_rejected(run, people):
    run("suppression", "add", str(ASHA))
    ended = submit(run, people, numbers=[ASHA])
    assert ended.code == 3
    assert "is rejected: no row of the file can be sent" in ended.err


def test_a_single_message_is_refused_too(run, sqlite_store):
    run("suppression", "add", str(ASHA))
    ended = run("send", f"+{ASHA}", "Hello", "--account", "main")
    assert (ended.code, ended.out) == (3, "")
    assert "the message was not sent: the number is on the suppression list" in ended.err
    assert "9198••••1223" in ended.err
    assert states(sqlite_store) == []
    assert run("send", f"+{RAVI}", "Hello", "--account", "main").code == 0


# --- Staging accounts -------------------------------------------------------------------------


STAGING = 'allow_only = ["+91 98200 11224", "9820011225"]'


def test_a_staging_account_takes_only_its_own_numbers(run, people):
    given = ["campaign", "submit", people(ASHA, RAVI, MIRA), "--account", "other", "--text", "Hi"]
    dry = as_json(run(*given, "--dry-run", "--json", more=STAGING))
    why = "the account sends only to the numbers of its `allow_only`"
    assert (dry["counts"]["total"], dry["reasons"]) == (2, {why: 1})
    shown = run(*given, "--dry-run", more=STAGING).out
    told = "other texts only the 2 numbers of its `allow_only`"
    assert why in shown
    assert told in shown
    assert told in run("account", "list", more=STAGING).out
    assert told in run("doctor", more=STAGING).out
    refused = run("send", f"+{ASHA}", "Hello", "--account", "other", more=STAGING)
    assert refused.code == 3
    assert why in refused.err
    assert run("send", f"+{RAVI}", "Hello", "--account", "other", more=STAGING).code == 0


def test_a_number_of_an_allow_list_that_cannot_be_read_is_named_masked(run, people):
    given = ["campaign", "submit", people(ASHA), "--account", "other", "--text", "Hi", "--dry-run"]
    ended = run(*given, more='allow_only = ["98200112"]')
    assert ended.code == 2
    assert "`allow_only` has 98••••12: " in ended.err
