"""A campaign that was sent, with a hostile name, and every kind of outcome; and the CLI over it."""

import pytest

from dispatcher.status import CampaignState
from dispatcher.store.tables import CAMPAIGN
from tests.support.cli import in_process
from tests.support.receipts import give_receipts, leased_poll
from tests.support.stores import (
    NOW,
    add_account,
    begin,
    change,
    claimed,
    close,
    order,
    settle,
    submit,
    verdict,
)

CONFIG = """
[store]
url = "{url}"
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v1"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
timezone = "Asia/Kolkata"
windows = [{windows}]
messages_per_second = {rate}
"""
#: A formula, a tag, an escape sequence, a right-to-left override: what a name must not do.
HOSTILE = "=cmd()<script>alert(1)</script>\x1b[31m\u202eevil"
FIRST = 919_820_011_000
ABSENT = ("undelivered", "Absent subscriber", "UnDelivered")


def run_in(folder, store, *, windows='"mon-sun 09:00-21:00"', rate=50):
    """The CLI, in a folder with a configuration for `store`."""
    config = folder / "dispatcher.toml"
    config.touch(mode=0o600)
    url = store.url.render_as_string(hide_password=False).replace("+psycopg", "")
    config.write_text(CONFIG.format(url=url, windows=windows, rate=rate), encoding="utf-8")
    return lambda *args: in_process("--config", str(config), *args, folder=folder)


def sent_campaign(store, *, name=HOSTILE):
    """Ten recipients: 0 to 4 delivered, 5 and 6 undelivered, 7 expired, 8 rejected, 9 in doubt."""
    add_account(store)
    rows = "".join(f"{FIRST + n},N{n}{HOSTILE if n == 5 else ''}\n" for n in range(10))
    wanted = order(f"phone,name\n{rows}", text="Dear {{name}}, hello.", again=True)
    campaign_id = submit(store, wanted)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=CampaignState.RUNNING, name=name)
    held = claimed(store)
    # The seqs of a batch have one encoding; here all are GSM-7, but that of the override.
    seqs = list(range(held.first_seq, held.first_seq + held.size))
    (attempt,) = begin(store, held, [seqs])
    *accepted, rejected, doubtful = seqs
    said = verdict(accepted=accepted, rejected=[rejected], doubtful=[doubtful], job_id="job-7")
    settle(store, held, attempt, said, now=NOW)
    close(store, held)
    states = ["delivered", "delivered", "delivered", "delivered", "delivered", ABSENT, "expired"]
    give_receipts(store, leased_poll(store, attempt), dict(zip(accepted, states, strict=False)))
    return campaign_id


@pytest.fixture
def run(sqlite_store, tmp_path, monkeypatch):
    """The CLI over a SQLite store with a sent campaign."""
    monkeypatch.chdir(tmp_path)
    sent_campaign(sqlite_store)
    return run_in(tmp_path, sqlite_store)
