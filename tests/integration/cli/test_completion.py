"""What a shell is given to complete: commands, options, campaigns and accounts."""

import shutil
import subprocess

import pytest
from click.shell_completion import ShellComplete

from dispatcher.cli import cli
from tests.support import stores
from tests.support.cli import in_process

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
[accounts.mirror]
provider = "smsnoc"
api_token = "a-key-of-a-test"
"""


@pytest.fixture
def offered(sqlite_store, tmp_path, monkeypatch):
    """What is offered for the last word of a line."""
    path = tmp_path / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")
    monkeypatch.setenv("DISPATCHER_CONFIG", str(path))
    stores.add_campaign(sqlite_store, name="spring")
    stores.add_campaign(sqlite_store, name="two words\x1b[31m")

    def complete(*words):
        shell = ShellComplete(cli, {}, "dispatcher", "_DISPATCHER_COMPLETE")
        found = shell.get_completions([*words[:-1]], words[-1])
        return {item.value: item.help for item in found}

    return complete


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("campaign", "sho", ), {"show"}),
        (("campaign", "show", ""), {"1", "2", "spring"}),
        (("campaign", "show", "sp"), {"spring"}),
        (("campaign", "watch", "1", ""), {"1", "2", "spring"}),
        (("campaign", "submit", "people.csv", "--account", "mi"), {"mirror"}),
        (("account", "balance", ""), {"main", "mirror"}),
        (("audit", "--campaign", "s"), {"spring"}),
        (("doctor", "--prov"), {"--providers"}),
        (("explain", "e-file"), {"E-FILE"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
    ],
)  # fmt: skip
def test_names_are_completed(offered, words, values):
    assert set(offered(*words)) == values


def test_an_id_has_the_name_beside_it_without_escapes(offered):
    assert offered("campaign", "show", "2") == {"2": "two words[31m"}


def test_without_a_configuration_nothing_is_offered_and_nothing_is_said(
    offered, monkeypatch, capfd
):
    monkeypatch.setenv("DISPATCHER_CONFIG", "/nothing/here.toml")
    assert offered("campaign", "show", "") == {}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_text_for_a_shell_is_its_own_language(shell, tmp_path):
    ended = in_process("completion", shell, folder=tmp_path)
    assert ended.code == 0
    assert "_DISPATCHER_COMPLETE" in ended.out
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=ended.out, text=True, check=True)
