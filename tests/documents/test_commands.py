"""Every command in every document is run, or is listed in `not_run.py` with the reason.

A shell block is run line by line in a folder with a configuration, a recipient file, and a store
whose campaign `people` has recipients in doubt and failed ones. Providers are the simulator's.
"""

import contextlib
import csv
import importlib.util
import re
import shlex
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import click
import pytest

from dispatcher.cli import cli
from dispatcher.providers import provider_class, provider_names
from dispatcher.status import CampaignState
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import CAMPAIGN
from tests.documents.markdown import ROOT, Fence, commands_of, documents
from tests.documents.not_run import NOT_RUN
from tests.support import stores
from tests.support.cli import Ended, in_process
from tests.support.simulator import SimulatorProcess
from tests.support.workbooks import sheet_of, xlsx

#: What `dispatcher simulator` listens on in the documents.
PORT = "127.0.0.1:9000"
ACCOUNTS = {
    "main": "thesmspoint",
    "point": "thesmspoint",
    "noc": "smsnoc",
    "standing": "standingtech",
    "voip": "voip_communications",
    "aoc": "aoc_portal",
}
PEOPLE = """\
phone,name,City,order,timezone
+91 98200 11222,Asha,Pune,4711,Asia/Kolkata
+91 98200 11223,Bela,,4712,Asia/Kolkata
"""
#: Commands that do not end with 0 here, and why.
ENDS_WITH = {
    # Neither a broker nor a worker runs.
    "dispatcher doctor": 1,
    "dispatcher doctor --json": 1,
}
#: The state that the campaign has to be in for a command; else it runs.
STATES = {
    "dispatcher campaign watch": CampaignState.FINISHED,
    "dispatcher campaign resume": CampaignState.PAUSED,
}
#: They run until Ctrl-C, so that no test may run them by mistake.
ENDLESS = {"demo", "simulator", "up"}
REASONS = {command: reason for reason, found in NOT_RUN.items() for command in found}

BLOCKS = [
    pytest.param(fence, id=f"{document}:{fence.line}")
    for document in documents()
    for fence in document.shell_fences
    if any(command not in REASONS for command in commands_of(fence.text))
]


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess(seed=5, scale=100) as process:
        yield process


@pytest.fixture(scope="module")
def template(simulator, tmp_path_factory) -> Path:
    """The folder that each block gets a copy of."""
    folder = tmp_path_factory.mktemp("documents")
    config = folder / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text("\n".join(_account(name, simulator) for name in ACCOUNTS), "utf-8")
    (folder / "people.csv").write_text(PEOPLE, "utf-8")
    xlsx(folder / "people.xlsx", {"People": sheet_of([*csv.reader(PEOPLE.splitlines())])})
    (folder / "dispatcher/demo").mkdir(parents=True)
    shutil.copy(ROOT / "dispatcher/demo/india-5000.csv", folder / "dispatcher/demo")
    _fill(f"sqlite:///{folder / 'dispatcher.db'}")
    return folder


def _account(name: str, simulator: SimulatorProcess) -> str:
    provider = ACCOUNTS[name]
    keys = provider_class(provider).settings_type.model_fields
    secrets = [key for key in ("api_key", "api_token", "api_password") if key in keys]
    return "\n".join(
        [
            f"[accounts.{name}]",
            f'provider = "{provider}"',
            f'base_url = "{simulator.base_url(provider)}"',
            'sender = "SENDER"',
            'template = "TEMPLATE"' if provider == "thesmspoint" else "",
            'country = "IN"',
            *(f'{key} = "a-key-of-a-test"' for key in secrets),
        ]
    )


def _fill(url: str) -> None:
    """A campaign `people`: one submitted, two in doubt, one failed, and two pending."""
    upgrade_store(url)
    with contextlib.closing(Store(url)) as store:
        stores.add_campaign(store, (4, 2), first=919_820_011_222, name="people", text="Hello")
        held, (accepted, doubtful, _unanswered) = stores.submitting(store, [[0], [1, 2], [3]])
        stores.settle(store, held, accepted, stores.verdict(accepted=[0]))
        stores.settle(store, held, doubtful, stores.verdict(doubtful=[1, 2]))
        stores.close(store, held, error="no connection", failed_after=1)
        states = ["submitted", "in_doubt", "in_doubt", "failed", "pending", "pending"]
        assert stores.states(store) == states


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fence", BLOCKS)
def test_a_documented_block_runs(fence, template, simulator, tmp_path):
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    shell = DocumentedShell(folder, simulator.port)
    commands = [command for command in commands_of(fence.text) if command not in REASONS]
    if any(one.startswith("dispatcher campaign submit") and "--dry-run" not in one
           for one in commands):  # fmt: skip
        shell.change_campaigns(name="an earlier one")
    for command in commands:
        shell.run(command)


class DocumentedShell:
    """Runs the few kinds of commands that the documents have, in one folder."""

    def __init__(self, folder: Path, port: int, ends_with: Mapping[str, int] = ENDS_WITH) -> None:
        self._ends_with = ends_with
        self._folder = folder
        self._port = port
        self._env = {
            "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder), "THESMSPOINT_KEY": "any",
        }  # fmt: skip

    def run(self, command: str) -> None:
        """Raises AssertionError where it does not end as it should, or is of no known kind."""
        here = {
            PORT: f"127.0.0.1:{self._port}",
            "$(date -d tomorrow +%F)": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}",
        }
        for documented, meant in here.items():
            command = command.replace(documented, meant)
        words = shlex.split(command)
        kind = getattr(self, f"_run_{words[0]}", None)
        assert kind is not None, f"{command}: not known here; list it in not_run.py, or teach it"
        kind(command, words[1:])

    def _run_export(self, command: str, words: list[str]) -> None:
        for word in words:
            name, _, value = word.partition("=")
            self._env[name] = "any" if value == "…" else value

    def _run_curl(self, command: str, words: list[str]) -> None:
        given = {"-d": None, "-X": None}
        while words[0] in given:
            given[words.pop(0)] = words.pop(0)
        (url,) = words
        data = None if given["-d"] is None else given["-d"].encode()
        with urlopen(Request(url, data, method=given["-X"]), timeout=10) as answer:
            assert answer.status == 200, command

    def _run_dispatcher(self, command: str, words: list[str]) -> None:
        assert words[0] not in ENDLESS, f"{command}: runs until Ctrl-C; list it in not_run.py"
        if words[0] == "init":
            self._begin_anew()
        for start, state in STATES.items():
            if command.startswith(start):
                is_over = state is CampaignState.FINISHED
                self.change_campaigns(state=state, finished_at=stores.NOW if is_over else None)
        with contextlib.chdir(self._folder):
            ended: Ended = in_process(*words, folder=self._folder, env=self._env)
        assert ended.code == self._ends_with.get(command, 0), f"{command}\n{ended.out}{ended.err}"

    def _begin_anew(self) -> None:
        """No configuration yet; the account that `init` writes is at the simulator."""
        (self._folder / "dispatcher.toml").unlink()
        base_url = f"http://127.0.0.1:{self._port}/thesmspoint/api/v1"
        self._env["DISPATCHER_ACCOUNTS__MAIN__BASE_URL"] = base_url

    def change_campaigns(self, **values: object) -> None:
        """Put the campaigns into a state that would take long to reach."""
        with (
            contextlib.closing(Store(f"sqlite:///{self._folder / 'dispatcher.db'}")) as store,
            store.write() as conn,
        ):
            stores.change(conn, CAMPAIGN, CAMPAIGN.c.id > 0, **values)


def test_what_is_not_run_stands_in_a_document():
    documented = {
        command
        for document in documents()
        for fence in document.shell_fences
        for command in commands_of(fence.text)
    }
    assert set(REASONS) - documented == set()


SPOKEN_OF = sorted(
    {
        (str(document), text)
        for document in documents()
        for text in [
            *document.spans,
            *(one for fence in document.shell_fences for one in commands_of(fence.text)),
        ]
        if text.startswith(("dispatcher ", "make ", "python -m "))
    }
)


@pytest.mark.parametrize(("document", "text"), SPOKEN_OF)
def test_a_command_that_a_document_names_exists_with_its_options(document, text):
    """Also those within a sentence, and those that are not run."""
    words = shlex.split(text)
    if words[0] == "make":
        assert f"\n{words[1]}: " in (ROOT / "Makefile").read_text("utf-8")
    elif words[0] == "python":
        assert importlib.util.find_spec(words[2]) is not None
    else:
        _check_options(words[1:])


def _check_options(words: list[str]) -> None:
    command, ctx = cli, click.Context(cli)
    names = {option for param in cli.params for option in param.opts}
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z]+", words[0]):
        _, command, words = command.resolve_command(ctx, words)
        ctx = click.Context(command)
        names |= {option for param in command.params for option in param.opts}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used - names == set()


def test_the_providers_of_the_folder_are_all_there_are():
    assert set(ACCOUNTS.values()) | {"ultimate_sms"} == set(provider_names())


def test_a_command_of_no_known_kind_fails(tmp_path):
    """What keeps a new one from being left out in silence."""
    fence = Fence("sh", 1, "rm -rf nothing  # a comment\n")
    (command,) = commands_of(fence.text)
    with pytest.raises(AssertionError, match="rm -rf nothing: not known here"):
        DocumentedShell(tmp_path, 1).run(command)
