"""`campaign pause`, `resume`, `cancel` and `set`: what cannot be changed is refused with exit 3."""

import pytest

from dispatcher.status import CampaignState
from tests.support.cli import in_process
from tests.support.stores import NOW, add_campaign, campaign_of

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
sender = "SENDER"
template = "TEMPLATE"
"""
OVER = [CampaignState.FINISHED, CampaignState.CANCELLED, CampaignState.REJECTED]


@pytest.fixture
def run(sqlite_store, tmp_path):
    """`campaign COMMAND 1 OPTIONS`; the one campaign of the store is the first."""
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")

    def command(name, *options):
        return in_process("--config", str(config), "campaign", name, "1", *options, folder=tmp_path)

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


@pytest.mark.parametrize(
    ("state", "command", "becomes"),
    [
        (CampaignState.RUNNING, "pause", "paused"),
        (CampaignState.PAUSED, "pause", "paused"),
        (CampaignState.PAUSED, "resume", "scheduled"),
    ],
)
def test_what_can_be_changed_says_what_it_is_now(sqlite_store, run, state, command, becomes):
    add_campaign(sqlite_store, state=state)
    ended = run(command)
    assert (ended.code, ended.out) == (0, f"campaign 1 is {becomes}\n")
    assert campaign_of(sqlite_store, 1).state == becomes
