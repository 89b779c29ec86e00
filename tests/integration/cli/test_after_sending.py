"""After sending: failures, retry, find and audit, as a person uses them."""

import json
import os
import socket
import stat

import pytest

from dispatcher.submission.acceptance import accept_import
from dispatcher.submission.campaign_import import import_rows
from dispatcher.submission.validation import validated_submission
from dispatcher.submission.withheld import WithheldRecipients
from dispatcher.types import Route
from tests.support.after_sending import FIRST, run  # noqa: F401 - a fixture
from tests.support.stores import add_campaign, ignore, order, provider, states


def shown(ended):
    """What a command printed: it must have ended with 0, and do nothing to a terminal."""
    assert ended.code == 0, ended.err
    assert all(char.isprintable() for line in ended.out.split("\n") for char in line)
    return ended.out


def test_failures_say_what_each_reason_means_and_how_to_resend(run):  # noqa: F811
    out = shown(run("campaign", "failures", "1"))
    assert "3 of 10 recipients were not reached" in out
    assert "undelivered: Absent subscriber" in out
    assert "off or had no signal" in out
    assert "retry 1 --state undelivered --reason 'Absent subscriber'" in out
    assert "who      for example 9198••••" in out
    assert "1 recipient is in doubt and not counted here" in out
    assert str(FIRST)[:8] not in out
    found = json.loads(run("campaign", "failures", "1", "--json").out)
    assert found["not_reached"] == sum(one["recipients"] for one in found["failures"]) == 3
    assert {one["state"] for one in found["failures"]} == {"undelivered", "expired", "rejected"}
    assert all(one["provider"] == "thesmspoint" for one in found["failures"])


def test_the_command_of_a_failure_retries_just_these(run, sqlite_store):  # noqa: F811
    found = json.loads(run("campaign", "failures", "1", "--json").out)["failures"]
    (one,) = [each for each in found if each["state"] == "undelivered"]
    import shlex

    ended = run(*shlex.split(one["command"])[1:], "--yes", "--json")
    assert json.loads(ended.out)["recipients"] == 1
    assert json.loads(ended.out)["retried"] == {"undelivered": 1}
    assert states(sqlite_store).count("pending") == 1 + states(sqlite_store)[9:].count("pending")
    assert "retried    1 undelivered: submitted again since" in shown(run("campaign", "show", "1"))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 3, "no message of campaign 1 has failed"),
        (["--state", "expired", "--reason", "nothing"], 3, "is expired with this reason"),
        (["--state", "delivered"], 2, "'delivered' is not one of"),
        (["--state", "expired", "--reason", ""], 2, "--reason is empty"),
    ],
)
def test_a_retry_that_means_nobody_changes_nothing(run, sqlite_store, options, code, words):  # noqa: F811
    before = states(sqlite_store)
    ended = run("campaign", "retry", "1", *options)
    assert (ended.code, states(sqlite_store)) == (code, before)
    assert words in ended.err


def test_a_retry_of_nobody_names_the_states_that_somebody_has(run):  # noqa: F811
    ended = run("campaign", "retry", "1", "--yes")
    assert ended.code == 3
    assert "give --state undelivered for 1, --state expired for 1, --state rejected for 1; " in (
        ended.err
    )


def test_failures_name_those_who_were_never_submitted(run, sqlite_store):  # noqa: F811
    cancelled = add_campaign(sqlite_store, [3], first=FIRST + 500)
    assert run("campaign", "cancel", str(cancelled), "--yes").code == 0
    out = run("campaign", "failures", str(cancelled)).out
    assert "3 others were never submitted: 3 cancelled" in out


def test_a_choice_about_doubt_is_explained_where_somebody_is_in_doubt(run, sqlite_store):  # noqa: F811
    ended = run("campaign", "resolve", "1")
    assert (ended.code, "choose what to do with 1 recipient in doubt" in ended.err) == (2, True)
    assert "--assume-submitted (it took them)" in ended.err
    nobody = str(add_campaign(sqlite_store, [3], first=FIRST + 500))
    ended = run("campaign", "resolve", nobody)
    assert (ended.code, f"no recipient of campaign {nobody} is in doubt" in ended.err) == (3, True)


def test_two_choices_about_doubt_are_refused(run, sqlite_store):  # noqa: F811
    before = states(sqlite_store)
    ended = run("campaign", "resolve", "1", "--drop", "--resend", "--yes")
    assert (ended.code, states(sqlite_store)) == (2, before)
    assert "--drop and --resend contradict each other; nothing was changed" in ended.err
    named = [word for number in (str(FIRST), "12") for word in ("--recipient", number)]
    ended = run("campaign", "resolve", "1", "--drop", *named, "--yes")
    assert (ended.code, states(sqlite_store)) == (2, before)
    assert "--recipient 2 of 2: " in ended.err
    assert run("campaign", "resolve", "1", "--drop", "--drop", "--yes").code == 0


def test_two_choices_about_a_restored_store_are_refused(run):  # noqa: F811
    ended = run("db", "adopt", "--restored", "--moved", "--yes")
    assert (ended.code, "--restored and --moved contradict" in ended.err) == (2, True)


def test_the_question_counts_recipients_and_parts(sqlite_store):
    from dispatcher.campaigns.failures import group_failures
    from dispatcher.cli.campaign.retry import _retry_question
    from dispatcher.status import MessageState
    from tests.support.after_sending import sent_campaign
    from tests.support.stores import campaign_of

    campaign = campaign_of(sqlite_store, sent_campaign(sqlite_store))
    wanted = [MessageState.UNDELIVERED, MessageState.EXPIRED]
    groups = group_failures(sqlite_store, [campaign], lambda _name: {}, states=wanted)
    assert _retry_question(campaign, groups) == (
        "Try 1 undelivered and 1 expired recipients of campaign 1 again, in 2 parts? "
        "A few of the expired may still get the first message."
    )


@pytest.mark.parametrize(
    "spelling", ["+91 98200 11000", "00919820011000", "9820011000", "(98200) 11-000"]
)
def test_a_number_is_found_however_it_is_written(run, spelling):  # noqa: F811
    out = shown(run("campaign", "find", spelling))
    assert "+919820011000: 1 message, oldest first; times in Asia/Kolkata" in out
    assert "text        Dear N0, hello." in out
    assert "sender      SENDER, account main, transactional" in out
    assert "submitted   2030-05-06 17:30:00" in out
    assert "ids         id-0, job job-7" in out


def test_what_a_number_got_is_json_too(run):  # noqa: F811
    found = json.loads(run("campaign", "find", "+919820011000", "--json").out)
    (message,) = found["messages"]
    assert message["text"] == "Dear N0, hello."
    assert message["submitted_at"] == "2030-05-06T12:00:00.000Z"
    assert message["attempts"][0]["provider_message_id"] == "id-0"
    assert message["decisions"][0]["action"] == "campaign submit"
    assert message["decisions"][0]["about"] == "campaign"


def test_decisions_about_other_recipients_are_not_shown(run, sqlite_store):  # noqa: F811
    shown(run("campaign", "retry", "1", "--state", "undelivered", "--yes"))
    shown(run("campaign", "drop", "1", "+919820011005", "--yes"))
    decided = {}
    for n in (0, 5, 6):
        out = shown(run("campaign", "find", f"+91982001100{n}"))
        assert "campaign    2" in out  # submit, of the whole campaign
        decided[n] = [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith("dec")]
    retry = "campaign retry (1 recipient: undelivered)"
    assert decided == {0: [], 5: [retry, "campaign drop (1 recipient)"], 6: []}


def test_the_evidence_is_one_page_and_nobody_elses_file(run, tmp_path):  # noqa: F811
    ended = run("campaign", "find", "9820011005", "--html", "proof.html", "--timezone", "UTC")
    shown(ended)
    path = tmp_path / "proof.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "All times are in UTC" in page
    again = run("campaign", "find", "9820011005", "--html", "proof.html")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert run("campaign", "find", "9820011005", "--html", "proof.html", "--force").code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["12"], "NUMBER: "),
        (["9820011000", "--country", "XX"], "is not a country"),
        (["9820011000", "--timezone", "Mars"], "--timezone"),
    ],
)
def test_a_number_that_cannot_be_read_is_said(run, args, words):  # noqa: F811
    ended = run("campaign", "find", *args)
    assert (ended.code, words in ended.err) == (2, True)


def test_a_number_that_got_nothing_says_so(run):  # noqa: F811
    assert "nothing was ever sent to +919899999999" in shown(run("campaign", "find", "9899999999"))


@pytest.fixture
def rejected(run, sqlite_store):  # noqa: F811
    """Campaign 2: of its four rows one gets a message."""
    assert run("suppression", "add", "+919820022002", "--reason", "asked").code == 0
    rows = "phone,name\n9820022001,A\n9820022001,B\n9820022002,C\n'(011) 2345-678',D\n"
    adapter = provider(country="IN", sender="SENDER")
    with validated_submission(
        order(rows, again=True),
        adapter,
        lambda requested: Route(sender=requested.sender),
        withheld=WithheldRecipients(sqlite_store, "main", adapter.settings),
    ) as checked:
        accept_import(sqlite_store, import_rows(sqlite_store, checked, ignore))
    return run


@pytest.mark.parametrize(
    ("number", "row", "why"),
    [
        ("+919820022001", 3, "duplicate: the same number is in an earlier row"),
        ("9820022002", 4, "suppressed: "),
        ("011 2345 678", 5, "invalid: "),
        ("+91 11 2345678", 5, "invalid: "),
    ],
)
def test_a_row_that_got_no_message_is_found_with_the_reason(rejected, tmp_path, number, row, why):
    out = shown(rejected("campaign", "find", number))
    assert f"row {row}, submitted " in out
    assert f"Asia/Kolkata: {why}" in out
    found = json.loads(rejected("campaign", "find", number, "--json").out)
    assert [each["row"] for each in found["rejected"]] == [row]
    assert found["rejected"][0]["kind"] == why.partition(":")[0]
    page = tmp_path / "proof.html"
    assert rejected("campaign", "find", number, "--html", str(page)).code == 0
    assert "Rows without a message" in page.read_text("utf-8")


def test_who_must_not_be_texted_is_said_with_what_was_sent(rejected):
    out = shown(rejected("campaign", "find", "9820022002"))
    assert "nothing was ever sent to +919820022002" in out
    assert "on the suppression list of all accounts since " in out
    assert "Asia/Kolkata: asked (from cli, by " in out


@pytest.mark.parametrize("number", ["12", "0", "no digits", "5678", "1234567"])
def test_a_few_digits_find_nobody_elses_row(rejected, number):
    assert rejected("campaign", "find", number).code == 2


def test_the_audit_names_the_systems_user(run, monkeypatch):  # noqa: F811
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("SUDO_USER", "asha")
    assert run("campaign", "pause", "1").code == 0
    assert run("account", "pause", "main").code == 0
    import pwd

    user = pwd.getpwuid(os.geteuid()).pw_name
    who = f"{user}@{socket.gethostname()} (sudo by asha)"
    rows = json.loads(run("audit", "--json").out)
    assert [row["actor"] for row in rows[-2:]] == [who, who]
    assert [row["action"] for row in rows] == [
        "campaign submit", "campaign paused", "account pause",
    ]  # fmt: skip
    assert who in shown(run("audit", "--campaign", "1"))
    assert len(json.loads(run("audit", "--account", "main", "--json").out)) == 3
    assert json.loads(run("audit", "--account", "other", "--json").out) == []
    assert len(json.loads(run("audit", "--since", "1h", "--json").out)) == 3
    assert json.loads(run("audit", "--since", "2099-01-01T00:00", "--json").out) == []


@pytest.mark.parametrize("since", ["yesterday", "7", "7 years", "999999999d"])
def test_a_time_that_cannot_be_read_is_said(run, since):  # noqa: F811
    ended = run("audit", "--since", since)
    assert (ended.code, "--since" in ended.err) == (2, True)


def test_show_has_text_and_sender(run):  # noqa: F811
    out = shown(run("campaign", "show", "1"))
    assert "text       Dear {{name}}, hello." in out
    assert "sender SENDER" in out


def test_the_list_is_filtered_and_says_what_is_waited_for(run, sqlite_store):  # noqa: F811
    out = shown(run("campaign", "list"))
    assert "waits for receipts" not in out
    assert " Asia/Kolkata" in out
    (row,) = json.loads(run("campaign", "list", "--search", "HELLO", "--json").out)
    assert (row["id"], row["waits_for"]) == (1, None)
    for options in (
        ["--search", "nobody"],
        ["--account", "other"],
        ["--since", "2099-01-01T00:00"],
    ):
        assert "no campaign is listed with these options" in run("campaign", "list", *options).out


def test_a_long_name_is_cut_to_the_terminal():
    from dispatcher.cli.output import _cut_cell

    assert _cut_cell("spring", 16) == "spring"
    assert _cut_cell("a campaign with a long name", 16) == "a campaign with…"
    assert _cut_cell("\u0928\u092e\u0938\u094d\u0924\u0947 " * 9, 16).endswith("…")
