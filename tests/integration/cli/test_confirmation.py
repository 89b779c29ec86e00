"""What a script must say before many are texted, and what is known of the cost."""

import json
from decimal import Decimal

import pytest
from sqlalchemy import update

from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE
from tests.support.cli import in_process
from tests.support.stores import rows

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "aoc_portal"
api_key = "any"
sender = "SENDER"
country = "IN"
{more}
"""
PEOPLE = "phone,name\n" + "".join(f"98200112{i},N{i}\n" for i in range(40, 45))


@pytest.fixture
def submit(sqlite_store, tmp_path):
    def submit(*options, more="", text="Dear {{name}}"):
        config = tmp_path / "dispatcher.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(path=sqlite_store.url.database, more=more))
        (tmp_path / "people.csv").write_text(PEOPLE)
        file = str(tmp_path / "people.csv")
        args = ("--config", str(config), "campaign", "submit", file, "--text", text, *options)
        return in_process(*args, folder=tmp_path)

    return submit


@pytest.mark.parametrize(
    ("more", "options", "code", "words"),
    [
        ("", [], 0, ""),
        ("", ["--yes"], 0, ""),
        ("", ["--confirm", "5"], 0, ""),
        ("", ["--confirm", "4"], 3, "--confirm says 4, and 5 recipients would get a message"),
        ("", ["--confirm", "6", "--yes"], 3, "give --confirm 5"),
        ("", ["--confirm", "2", "--limit", "2"], 0, ""),
        ("confirm_above_recipients = 5", ["--yes"], 0, ""),
        ("confirm_above_recipients = 4", ["--yes"], 3, "--yes does not answer for so many"),
        ("confirm_above_recipients = 4", [], 3, "nobody can be asked here"),
        ("confirm_above_recipients = 4", ["--confirm", "5"], 0, ""),
        ("confirm_above_recipients = 4", ["--yes", "--limit", "4"], 0, ""),
        ("confirm_above_cost = 1.0", ["--yes"], 0, ""),
    ],
)
def test_a_script_confirms_the_number_above_the_accounts_ceiling(
    submit, sqlite_store, more, options, code, words
):
    ended = submit(*options, more=more)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert len(rows(sqlite_store, CAMPAIGN)) == (code == 0)


def test_the_cost_is_estimated_by_the_prices_of_earlier_messages(submit, sqlite_store):
    assert submit("--yes").code == 0
    with sqlite_store.write() as conn:
        conn.execute(update(MESSAGE).values(cost=Decimal("0.25")))
        conn.execute(update(BATCH).values(cost=Decimal("1.25")))
    long = "Dear {{name}}" + "x" * 160
    ended = submit("--dry-run", text=long)
    assert "cost about 2.5 (by earlier prices)" in ended.out
    assert json.loads(submit("--dry-run", "--json", text=long).out)["cost_estimate"] == "2.50"
    ended = submit("--yes", text=long, more="confirm_above_cost = 2.4")
    assert ended.code == 3
    assert "cost about 2.5 (by earlier prices), and the account's `confirm_above_cost` is 2.4" in (
        ended.err
    )
    assert submit("--confirm", "5", text=long, more="confirm_above_cost = 2.4").code == 0


def test_a_cost_of_millions_is_written_out(submit, sqlite_store):
    assert submit("--yes").code == 0
    with sqlite_store.write() as conn:
        conn.execute(update(MESSAGE).values(cost=Decimal(1_000_000)))
        conn.execute(update(BATCH).values(cost=Decimal(5_000_000)))
    ended = submit("--yes", text="Hi {{name}}", more="confirm_above_cost = 2000000.0")
    assert ended.code == 3
    assert "`confirm_above_cost` is 2000000" in ended.err


def test_a_dry_run_shows_a_random_sample(submit):
    ended = submit("--dry-run", "--sample", "4")
    assert "4 random texts as they will arrive:" in ended.out
    assert ended.out.count("(GSM-7, 1 part): Dear N4") == 4
    assert submit("--dry-run", "--sample", "9").out.count(": Dear N4") == 5


def test_a_sample_goes_to_oneself_or_nowhere(submit, sqlite_store):
    ended = submit("--sample", "3", "--yes")
    assert ended.code == 2
    assert "give --test-to NUMBER, or --dry-run" in ended.err
    assert rows(sqlite_store, CAMPAIGN) == []
