"""Every provider by its own account: a campaign each, and each feature to the provider's ledger."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from dispatcher.providers import provider_names
from dispatcher.simulator.families.ultimate_sms import CONTACT_LISTS
from tests.support.cli import in_process
from tests.support.stage import KEY, Campaign, Stage, disagreements, stage

pytestmark = pytest.mark.acceptance

ROWS = 150
TEXT = "Dear {{name}}, your order {{order}} is ready."
_SERVER = {"api_key": None, "api_token": KEY, "template": None, "schedule_timezone": "UTC"}
ACCOUNTS = {
    "thesmspoint": {},
    "smsnoc": _SERVER,
    "standingtech": _SERVER,
    "ultimate_sms": _SERVER,
    "voip_communications": {
        "api_password": "the-password",
        "sender": None,
        "template": None,
        "schedule_timezone": "UTC",
    },
    "aoc_portal": {"template": None},
}


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """One stage with an account at each provider, by the provider's name."""
    accounts = {
        name: {"provider": name, "max_in_flight": 20, **keys} for name, keys in ACCOUNTS.items()
    }
    with stage(accounts=accounts, command=in_process) as made:
        made.start()
        yield made


def people(ours: Stage, name: str, count: int):
    """A file of people of the campaign `name` alone; three in a row have the same text."""
    first = 919800000000 + sum(map(ord, name)) * 1000
    path = ours.folder / f"{name}.csv"
    rows = [
        (first + i, "अनु" if i // 3 % 5 == 4 else f"Name {i // 3}", f"OR{i // 3 % 10}")
        for i in range(count)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("phone", "name", "order"), *rows])
    return path


def accepted_of(ours: Stage, export) -> list[dict]:
    """The ledger's entries for the numbers of an export."""
    numbers = {row["msisdn"] for row in export}
    return [entry for entry in ours.provider.ledger() if entry["number"] in numbers]


def rendered(row) -> str:
    return f"Dear {row['name']}, your order {row['order']} is ready."


def arrived(ours: Stage, campaign, text_of=rendered) -> list[dict]:
    """The ledger's entries of a campaign, which agree with its export."""
    export = campaign.export()
    entries = accepted_of(ours, export)
    assert disagreements(export, entries, text_of) == []
    assert entries
    return entries


def test_a_campaign_to_each_provider_agrees_with_its_ledger_and_no_request_is_malformed(ours):
    assert {*ACCOUNTS} == {*provider_names()}
    campaigns = {
        name: ours.submit(people(ours, name, ROWS), "--text", TEXT, account=name)
        for name in ACCOUNTS
    }
    # A unit or a price for each part, as the simulated servers say beside each message.
    unit = Decimal(1)
    prices = dict.fromkeys(("smsnoc", "standingtech", "ultimate_sms"), lambda _text: unit)
    prices["voip_communications"] = lambda _text: Decimal("0.01")
    for name, campaign in campaigns.items():
        shown = campaign.wait_until_over()
        entries = arrived(ours, campaign)
        assert len(entries) == ROWS, name
        assert {entry["provider"] for entry in entries} == {name}
        final = ROWS if name != "aoc_portal" else 0
        assert shown.counts["delivered"] + shown.counts["undelivered"] == final, name
        cost = sum(prices[name](entry["text"]) for entry in entries) if name in prices else None
        assert shown.cost == cost, name
        assert sum(Decimal(row["cost"]) for row in campaign.export() if row["cost"]) == (cost or 0)
        texts = {(entry["request"], entry["text"]) for entry in entries}
        requests = {entry["request"] for entry in entries}
        if name == "thesmspoint":
            assert len(requests) == 2, "one for each encoding"
        else:
            assert len(texts) == len(requests) < ROWS * 0.6, f"{name}: equal texts share a request"
    stats = ours.provider.stats()
    assert (stats["malformed"], stats["flag_mismatches"], stats["needless_unicode"]) == (0, 0, 0), (
        stats["malformed_reasons"]
    )


@pytest.mark.parametrize("account", ["smsnoc", "ultimate_sms"])
def test_a_contact_list_campaign_is_one_row_and_reaches_everybody_on_the_lists(ours, account):
    ids = [*CONTACT_LISTS]
    options = [option for one in ids for option in ("--contact-list", one)]
    made = ours.json("campaign", "submit", *options, "--text", f"News by {account}.",
                     "--account", account, "--yes", "--wait")  # fmt: skip
    assert (made["counts"]["total"], made["counts"]["submitted"]) == (1, 1)
    entries = [e for e in ours.provider.ledger() if e["text"] == f"News by {account}."]
    assert {e["number"] for e in entries} == {n for one in ids for n in CONTACT_LISTS[one]}
    assert {e["contact_list_id"] for e in entries} == {",".join(ids)}


@pytest.mark.parametrize(
    ("account", "field"),
    [
        ("smsnoc", "schedule_time"),
        ("standingtech", "schedule_time"),
        ("ultimate_sms", "schedule_time"),
        ("voip_communications", "delivery_date"),
    ],
)
def test_a_schedule_handed_to_the_provider_arrives_in_the_accounts_zone(ours, account, field):
    at = (datetime.now(UTC) + timedelta(hours=3)).replace(second=0, microsecond=0)
    file = people(ours, f"scheduled {account}", 3)
    campaign = ours.submit(
        file, "--text", "Later.", "--schedule-at-provider", at.isoformat(), "--yes", account=account
    )
    campaign.wait_until(lambda view: not view.counts["pending"], "the hand-over")
    export = campaign.export()
    assert {row["state"] for row in export} == {"submitted"}
    entries = accepted_of(ours, export)
    assert len(entries) == 3
    assert {entry[field] for entry in entries} == {f"{at:%Y-%m-%d %H:%M}"}


@pytest.mark.parametrize(
    ("account", "field", "value"),
    [("thesmspoint", "channel", 3), ("aoc_portal", "type", "OTP")],
)
def test_an_otp_is_sent_at_once_by_the_route_for_it(ours, account, field, value):
    number = "919811111111" if account == "aoc_portal" else "919811111112"
    route = () if account == "aoc_portal" else ("--sender", "OTPSND", "--template", "OTPTPL")
    text = "482913 is your one-time password"
    ended = ours.run("send", number, text, "--account", account, "--kind", "otp", "--wait", *route)
    assert ended.code == 0, ended.err
    (entry,) = [e for e in ours.provider.ledger() if e["number"] == number]
    assert (entry["text"], entry[field]) == (text, value)


def test_a_flash_message_carries_its_flag(ours):
    file = people(ours, "flash", 2)
    campaign = ours.submit(file, "--text", "Look!", "--flash", account="aoc_portal")
    campaign.wait_until_over()
    assert {e["flash"] for e in arrived(ours, campaign, lambda _row: "Look!")} == {1}


@pytest.mark.parametrize(
    ("account", "template", "words"),
    [
        ("thesmspoint", "DEARTPL", "Dear {name}, {order}"),
        ("aoc_portal", "1507160000000000001", "Dear {name}, your order {order} is on its way."),
    ],
)
def test_a_template_with_variables_is_filled_from_columns(ours, account, template, words):
    file = people(ours, f"template {account}", 3)
    made = ours.json("campaign", "submit", str(file), "--account", account, "--template", template,
                     "--template-vars", "name,order", "--wait=receipts")  # fmt: skip
    campaign = Campaign(ours, made["id"])
    entries = arrived(ours, campaign, lambda row: words.format(**row))
    id_of = {"DEARTPL": "1107160000000007205"}
    assert {entry["template_id"] for entry in entries} == {id_of.get(template, template)}


def test_a_template_id_goes_with_the_text_to_servers_that_register_texts(ours):
    file = people(ours, "dlt", 2)
    campaign = ours.submit(file, "--text", TEXT, "--template", "1107160000000099", account="smsnoc")
    campaign.wait_until_over()
    assert {e["dlt_template_id"] for e in arrived(ours, campaign)} == {"1107160000000099"}


def test_a_test_message_has_the_first_text_and_goes_before_the_campaign(ours):
    file, own = people(ours, "tested", 4), "919822222222"
    made = ours.json("campaign", "submit", str(file), "--account", "smsnoc", "--text", TEXT,
                     "--test-to", own, "--yes", "--wait")  # fmt: skip
    campaign = Campaign(ours, made["id"])
    entries = accepted_of(ours, campaign.export())
    (test,) = [e for e in ours.provider.ledger() if e["number"] == own]
    assert test["text"] == "Dear Name 0, your order OR0 is ready."
    assert test["request"] < min(e["request"] for e in entries)
    assert len(entries) == 4


def test_a_test_message_that_cannot_be_sent_sends_nothing_else(ours):
    file = people(ours, "untested", 4)
    ended = ours.run("campaign", "submit", str(file), "--account", "standingtech", "--text", TEXT,
                     "--test-to", "12", "--yes")  # fmt: skip
    assert ended.code == 3, ended.err
    assert "--test-to" in ended.err
    assert not [e for e in ours.provider.ledger() if e["number"] in file.read_text("utf-8")]


@pytest.mark.parametrize(
    ("account", "options", "able"),
    [
        ("thesmspoint", ("--flash",), "aoc_portal"),
        ("voip_communications", ("--flash",), "aoc_portal"),
        ("thesmspoint", ("--schedule-at-provider", "2030-01-01T10:00"),
         "smsnoc, standingtech, ultimate_sms, voip_communications"),
        ("aoc_portal", ("--schedule-at-provider", "2030-01-01T10:00"),
         "smsnoc, standingtech, ultimate_sms, voip_communications"),
        ("standingtech", ("--contact-list", "65c0ffee00001"), "smsnoc, ultimate_sms"),
        ("smsnoc", ("--template", "7", "--template-vars", "name"), "aoc_portal, thesmspoint"),
    ],
)  # fmt: skip
def test_what_a_provider_cannot_do_is_refused_with_the_accounts_that_can(
    ours, account, options, able
):
    before = ours.provider.stats()
    file = () if "--contact-list" in options else (str(people(ours, "refused", 2)),)
    text = () if "--template" in options else ("--text", "Hello")
    ended = ours.run("campaign", "submit", *file, *text, *options, "--account", account, "--yes")
    assert ended.code == 3
    assert f"accounts that do: {able}" in ended.err
    assert ours.provider.stats()["accepted"] == before["accepted"]
