"""What commands tell of campaigns: doubt is named everywhere, and counts have one meaning."""

import json
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select

from dispatcher.campaigns.view import load_view, newest_campaigns, tally_messages
from dispatcher.cli.campaign.pace import SubmissionPace
from dispatcher.cli.campaign.progress import progress_line
from dispatcher.status import AttemptOutcome, CampaignState, MessageState
from dispatcher.store import campaigns, doubts
from dispatcher.store.campaign_search import CampaignFilter
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN
from tests.support.cli import in_process
from tests.support.stores import (
    NOW,
    add_account,
    add_campaign,
    change,
    claimed,
    close,
    later,
    settle,
    start_import,
    submitted,
    submitting,
    verdict,
)

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v3"
sender = "SENDER"
country = "IN"
"""
PEOPLE = "phone\n9820011223\n"


@pytest.fixture
def run(sqlite_store, tmp_path):
    """`dispatcher ARGS` over the test's store."""
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return lambda *args: in_process("--config", str(config), *args, folder=tmp_path)


def add_doubt(store, *, name="spring", lost=2, **values):
    """A campaign of three, of whom the last `lost` are in doubt; its id."""
    campaign = add_campaign(store, name=name, **values)
    held, (attempt,) = submitting(store)
    seqs = range(held.size)
    doubtful = seqs[held.size - lost :]
    said = verdict(
        accepted=seqs[: held.size - lost], doubtful=doubtful, outcome=AttemptOutcome.DOUBTFUL
    )
    settle(store, held, attempt, said, poll=None)
    close(store, held)
    return campaign


def add_many(store, count, **values):
    """Campaigns that only have a row, finished long ago."""
    given = {"state": CampaignState.FINISHED, "finished_at": NOW, "total": 0, **values}
    with store.write() as conn:
        first = start_import(conn, name="other").campaign_id
        change(conn, CAMPAIGN, CAMPAIGN.c.id == first, **given)
        row = conn.execute(select(CAMPAIGN).where(CAMPAIGN.c.id == first)).mappings().one()
        more = [{**row, "id": first + number} for number in range(1, count)]
        conn.execute(insert(CAMPAIGN), more)


# --- Doubt is named everywhere ----------------------------------------------------------------

WHO = "5 recipients are IN DOUBT in 2 campaigns: 1 (spring: 2), 2 (autumn: 3)"


@pytest.fixture
def doubtful(sqlite_store):
    """Two campaigns with recipients in doubt, one of them over, behind 300 newer ones."""
    over = add_doubt(sqlite_store)
    with sqlite_store.write() as conn:
        values = {"state": CampaignState.CANCELLED, "finished_at": NOW}
        change(conn, CAMPAIGN, CAMPAIGN.c.id == over, **values)
    add_doubt(sqlite_store, name="autumn", lost=3)
    add_many(sqlite_store, 300)


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize(
    "args",
    [
        ("campaign", "list"),
        ("campaign", "list", "--limit", "1"),
        ("campaign", "list", "--state", "paused"),
        ("campaign", "list", "--sends"),
        ("campaign", "list", "--json"),
        ("campaign", "submit", "people.csv", "--text", "Hello", "--dry-run"),
        ("campaign", "submit", "people.csv", "--text", "Hello", "--yes"),
        ("campaign", "submit", "people.csv", "--text", "Hello", "--yes", "--json"),
        ("campaign", "submit", "--contact-list", "a", "--text", "Hello", "--yes"),
        ("campaign", "submit", "missing.csv", "--text", "Hello", "--yes"),
        ("send", "+919820011223", "Hello"),
        ("send", "+919820011223", "Hello", "--json"),
    ],
)
def test_lists_and_submissions_name_every_campaign_in_doubt(run, args, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ended = run(*args)
    assert WHO in (ended.err if args[1] != "list" or "--json" in args else ended.out), ended
    if "--json" in args:
        json.loads(ended.out)


@pytest.mark.usefixtures("doubtful")
def test_doctor_names_campaigns_in_doubt_and_exits_with_1(run, sqlite_store):
    with sqlite_store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.campaign_id == 2, looks=0, reconcile_at=later(60))
    ended = run("doctor", "--json")
    found = [f for f in json.loads(ended.out) if f["part"] == "campaigns"]
    assert ended.code == 1
    assert [(f["ok"], f["what"].partition(" since")[0]) for f in found] == [
        (False, "campaign 1 (spring): 2 recipients are IN DOUBT"),
        (False, "campaign 2 (autumn): 3 recipients are IN DOUBT"),
    ]
    assert "`dispatcher campaign resolve 1`" in found[0]["remedy"]
    assert "automatic check is at 2030-05-06 12:01:00 UTC" in found[1]["remedy"]


def test_many_campaigns_in_doubt_are_counted_and_the_first_ones_named(run, sqlite_store):
    for number in range(12):
        add_doubt(sqlite_store, name=f"c{number + 1}", lost=1)
    told = run("campaign", "list", "--limit", "1").out
    assert "12 recipients are IN DOUBT in 12 campaigns: 1 (c1: 1), 2 (c2: 1)" in told
    assert "10 (c10: 1) and 2 more, see `dispatcher doctor`" in told


def test_without_doubt_nothing_is_told_of_it(run, sqlite_store, store):
    add_campaign(sqlite_store)
    assert "DOUBT" not in run("campaign", "list").out
    assert not [f for f in json.loads(run("doctor", "--json").out) if f["part"] == "campaigns"]
    with store.read() as conn:
        assert doubts.campaigns_in_doubt(conn) == []


def test_both_stores_count_the_doubt_of_each_campaign(store):
    campaign = add_doubt(store)
    with store.read() as conn:
        (found,) = doubts.campaigns_in_doubt(conn)
    assert (found.id, found.name, found.recipients) == (campaign, "spring", 2)
    assert found.since == NOW


# --- Single messages leave room for campaigns --------------------------------------------------


def test_single_messages_push_no_campaign_off_the_list(store):
    ids = [add_campaign(store) for _ in range(3)]
    add_many(store, 40, one_off=True)

    def listed(limit=5, states=(), **options):
        only = CampaignFilter(states=states)
        return [c.id for c, _ in newest_campaigns(store, limit=limit, only=only, **options)]

    assert listed() == [43, 42, *reversed(ids)]
    assert listed(limit=3) == list(reversed(ids))
    assert listed(limit=2) == [3, 2]
    assert listed(only_single=True) == [43, 42, 41, 40, 39]
    assert listed(states=("running",)) == list(reversed(ids))


def test_an_empty_list_says_whether_there_are_other_campaigns(run, sqlite_store):
    assert "there are no campaigns yet" in run("campaign", "list").out
    add_campaign(sqlite_store)
    for options in (["--state", "paused"], ["--sends"]):
        assert "no campaign is listed with these options" in run("campaign", "list", *options).out


# --- One meaning for each count ----------------------------------------------------------------

ENDED = {"cancelled": MessageState.CANCELLED, "lapsed": MessageState.LAPSED}


@pytest.mark.parametrize("word", ENDED)
def test_a_campaign_that_ended_unsent_shows_0_submitted_everywhere(run, sqlite_store, word):
    campaign = add_campaign(sqlite_store, sizes=(3, 2))
    with sqlite_store.write() as conn:
        campaigns.end_waiting_batches(conn, campaign, ENDED[word], NOW)
        values = {"state": CampaignState.CANCELLED, "finished_at": NOW}
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, **values)
    shown = load_view(sqlite_store, str(campaign))
    pace = SubmissionPace()
    pace.add_observation(shown.total_submitted)
    assert "0/5 submitted · 0 delivered · 5 not submitted" in progress_line(shown, pace)
    for command in ("show", "watch"):
        told = run("campaign", command, str(campaign)).out.split()
        assert " ".join(told).count(f"0 submitted 5 not submitted 5 {word}") == 1
    head, row = run("campaign", "list").out.splitlines()
    assert dict(zip(columns(head), columns(row), strict=True)) == {
        "id": "1", "name": "spring", "state": "cancelled", "account": "main", "total": "5",
        "pending": "0", "submitted": "0", "delivered": "0", "not delivered": "0", "in doubt": "0",
        "not submitted": "5", "created": "2030-05-06 17:30 Asia/Kolkata",
    }  # fmt: skip


def columns(line):
    return [cell.strip() for cell in line.replace("  ", "\t").split("\t") if cell.strip()]


def counts(**given):
    names = [state.label for state in MessageState] + ["no_receipt"]
    return dict.fromkeys(names, 0) | {"invalid": 0, "duplicate": 0} | given


@pytest.mark.parametrize("state", MessageState)
def test_every_state_is_counted_in_a_tally(store, state):
    campaign = load_view(store, str(add_campaign(store))).campaign
    tally = tally_messages(campaign, counts(total=1, **{state.label: 1}))
    assert tally.pending + tally.submitted + tally.in_doubt + tally.not_submitted == 1


@pytest.mark.parametrize(
    ("given", "submitted_", "not_submitted", "waiting"),
    [
        ({"submitted": 3}, 3, 0, 3),
        ({"submitted": 3, "no_receipt": 2}, 3, 0, 1),
        ({"delivered": 1, "undelivered": 2, "expired": 4}, 7, 0, 0),
        ({"rejected": 1, "failed": 2, "cancelled": 3, "lapsed": 4}, 0, 10, 0),
        # Two of the suppressed were rows of the file, and have no message.
        ({"suppressed": 3, "pending": 1}, 0, 1, 0),
        ({"in_doubt": 5, "submitted": 1}, 1, 0, 1),
    ],
)
def test_a_tally_adds_up(store, given, submitted_, not_submitted, waiting):
    in_file = 2 if "suppressed" in given else 0
    campaign = load_view(store, str(add_campaign(store, suppressed=in_file))).campaign
    total = sum(given.values()) - given.get("no_receipt", 0) - in_file
    tally = tally_messages(campaign, counts(total=total, **given))
    assert (tally.submitted, tally.not_submitted) == (submitted_, not_submitted)
    assert tally.waiting == waiting
    assert tally.total == tally.pending + tally.submitted + tally.in_doubt + tally.not_submitted
    parts = tally.delivered + tally.not_delivered + tally.waiting + tally.no_receipt
    assert tally.submitted == parts


def test_what_a_provider_took_is_submitted_whatever_came_of_it(run, sqlite_store):
    add_campaign(sqlite_store)
    submitted(sqlite_store)
    told = " ".join(run("campaign", "show", "1").out.split())
    assert "messages 3 3 submitted 3 waiting for a receipt" in told


# --- What an open account waits for ------------------------------------------------------------

SOON = timedelta(seconds=300)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("not_before", "waits for the end of a pause, at "),
        ("messages_paid_until", "its rate"),
    ],
)
def test_what_an_open_account_waits_for_is_named(run, sqlite_store, tmp_path, column, words):
    config = tmp_path / "dispatcher.toml"
    limits = "messages_per_second = 1\nmax_recipients = 1000\n"
    config.write_text(config.read_text(encoding="utf-8") + limits, encoding="utf-8")
    add_campaign(sqlite_store)
    with sqlite_store.read() as conn:
        until = store_now(conn) + SOON
    add_account(sqlite_store, **{column: until})
    (found,) = [f for f in json.loads(run("doctor", "--json").out) if f["part"] == "accounts"]
    assert found["ok"] is True
    listed = run("account", "list").out
    for told, shown in ((found["what"], utc(until)), (listed, local(until))):
        assert words in told
        assert shown in told
    assert f"(account main waits for {words.removeprefix('waits for ')}" in shown_campaign(run)


def utc(at):
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def local(at):
    """In the account's zone, in which a person sees all times."""
    return f"{at.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%d %H:%M:%S} Asia/Kolkata"


def shown_campaign(run):
    return " ".join(run("campaign", "show", "1").out.split())


@pytest.mark.parametrize("why", ["the provider answers 429", None])
def test_a_batch_that_may_be_tried_later_is_named(run, sqlite_store, why):
    add_campaign(sqlite_store, (1, 1))
    with sqlite_store.write() as conn:
        at = store_now(conn) + SOON
        later = {"not_before": at, "error": why}
        change(conn, BATCH, BATCH.c.seq == 1, **later)
    assert "waits for the next try" not in shown_campaign(run)  # the other may leave at once
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.seq == 0, not_before=at + SOON)
    words = "waits for the next try of its messages at "
    assert f"({words}{local(at)}{f' ({why})' if why else ''})" in shown_campaign(run)
    (found,) = [json.loads(run("campaign", "show", "1", "--json").out)["waits_for"]]
    assert found.startswith(words.removeprefix("waits for ") + utc(at))
    claimed(sqlite_store)  # something is under way
    assert "waits for" not in shown_campaign(run)


def test_a_campaign_that_waits_for_its_own_rate_says_so(run, sqlite_store):
    with sqlite_store.read() as conn:
        until = store_now(conn) + timedelta(seconds=8)
    add_campaign(sqlite_store, rate=0.01, paid_until=until)
    assert f"waits for its own rate, used up until {local(until)}" in shown_campaign(run)


@pytest.mark.parametrize("ahead", [timedelta(days=30), timedelta(days=366)])
def test_a_rate_that_a_wrong_clock_has_paid_is_not_waited_for(run, sqlite_store, tmp_path, ahead):
    config = tmp_path / "dispatcher.toml"
    config.write_text(config.read_text(encoding="utf-8") + "messages_per_second = 500\n")
    add_account(sqlite_store)
    with sqlite_store.read() as conn:
        until = store_now(conn) + ahead
    add_account(sqlite_store, messages_paid_until=until)
    told = run("doctor").out + run("account", "list").out
    assert f"{until:%Y-%m-%d}" not in told
    assert local(until)[:10] not in told
