"""The shape of what commands print as JSON: which keys there are, and of which type.

`python -m tests.support.json_shapes --write` writes tests/json_shapes.txt anew.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from tests.support.after_sending import FIRST, sent_campaign
from tests.support.cli import Ended, in_process
from tests.support.simulator import SimulatorProcess

FILE = Path(__file__).parents[1] / "json_shapes.txt"
_TYPES = {str: "text", bool: "yes or no", int: "number", float: "number", type(None): "null"}

_CONFIG = """
[store]
url = "sqlite:///{folder}/store.db"
[notify]
command = ["true"]
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
base_url = "{base_url}"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
messages_per_second = 50
windows = ["mon-sun 00:00-24:00"]
"""
#: Names of files in the folder.
_FILES = {"people.csv", "store.backup"}
#: An account whose provider pushes.
_PUSHING = {
    "DISPATCHER_ACCOUNTS__VOIP__PROVIDER": "voip_communications",
    "DISPATCHER_ACCOUNTS__VOIP__API_KEY": "a-key",
    "DISPATCHER_ACCOUNTS__VOIP__API_PASSWORD": "a-password",
}
_PEOPLE = "phone,name\n919820021001,Asha\n919820021002,Ravi\n12,Short\n919820021001,Again\n"
_SUBMIT = ("campaign", "submit", "people.csv", "--account", "main", "--text", "Hello {{name}}")
_SOON = datetime.now(UTC).date() + timedelta(days=2)
_LATER = ("--start-at", "2099-01-05T09:00", "--window", "mon-fri 10:00-12:00", "--again")

_IN_TROUBLE = (
    ("account", "pause", "main"),
    ("stop",),
    ("campaign", "show", "1"),
    ("go",),
    ("account", "resume", "main"),
)
#: These print no JSON, or that of another name.
_PREPARE = {("account", "pause"), ("account", "resume"), ("stop",), ("go",)}

#: Name → commands, in the order in which they run. Campaign 1 was sent, 2 waits for its start.
RUNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "campaign submit --dry-run": (
        (*_SUBMIT, "--dry-run"),
        (*_SUBMIT, "--dry-run", *_LATER),
        (*_SUBMIT, "--dry-run", "--window", f"{_SOON} 10:00-12:00"),
    ),
    "campaign submit": ((*_SUBMIT, *_LATER, "--yes", "--rate", "5/s", "--name", "later"),),
    "campaign submit --wait": (
        (*_SUBMIT, *_LATER, "--yes", "--idempotency-key", "k", "--name", "over"),
        ("campaign", "cancel", "over", "--yes"),
        (*_SUBMIT, *_LATER, "--idempotency-key", "k", "--name", "over", "--wait"),
    ),
    "campaign list": (("campaign", "list"),),
    "campaign show": (("campaign", "show", "1"), ("campaign", "show", "2"), *_IN_TROUBLE),
    "campaign failures": (("campaign", "failures", "1"),),
    "campaign find": (
        ("campaign", "find", f"+{FIRST}"),
        ("campaign", "find", f"+{FIRST + 5}"),
        ("campaign", "find", f"+{FIRST + 8}"),
        ("campaign", "find", f"+{FIRST + 9}"),
        ("campaign", "find", "+919820021001"),
    ),
    "campaign report": (("campaign", "report", "1"), ("campaign", "report", "--since", "9000d")),
    "campaign pause": (("campaign", "pause", "2"),),
    "campaign resume": (("campaign", "resume", "2"),),
    "campaign set": (("campaign", "set", "2", "--rate", "4/s"),),
    "campaign drop": (("campaign", "drop", "2", "+919820021002", "--yes"),),
    "campaign resolve": (("campaign", "resolve", "1", "--assume-submitted", "--yes"),),
    "campaign retry": (("campaign", "retry", "1", "--state", "undelivered", "--yes"),),
    "campaign pause --all": (("campaign", "pause", "--all"),),
    "campaign resume --all": (("campaign", "resume", "--all"),),
    "campaign cancel": (("campaign", "cancel", "2", "--yes"),),
    "campaign cancel --all": (("campaign", "cancel", "--all", "--yes"),),
    "account list": (
        ("account", "list"),
        ("account", "pause", "main"),
        ("account", "list"),
        ("stop",),
        ("account", "list"),
        ("go",),
        ("account", "resume", "main"),
    ),
    "account check": (("account", "check", "main"),),
    "account balance": (("account", "balance", "main"),),
    "account senders": (("account", "senders", "main"),),
    "account templates": (("account", "templates", "main"),),
    "send": (("send", "+919820021009", "Hello", "--account", "main"),),
    "stop": (("stop", "--reason", "fire"),),
    "go": (("go", "--account", "main"),),
    "suppression add": (("suppression", "add", "+919820021010", "--reason", "asked"),),
    "suppression check": (("suppression", "check", "+919820021010"),),
    "suppression list": (("suppression", "list"),),
    "suppression import": (("suppression", "import", "people.csv", "--country", "IN"),),
    "suppression remove": (("suppression", "remove", "+919820021010"),),
    "receiver url": (("receiver", "url", "voip"),),
    "receiver revoke": (("receiver", "revoke", "voip", "--all"),),
    "receiver replies": (("receiver", "replies"),),
    "purge --dry-run": (("purge", "--older-than", "0d", "--dry-run"),),
    "erase --dry-run": (("erase", "+919820021010", "--dry-run"),),
    "erase": (("erase", "+919820021010", "--yes"),),
    "purge": (("purge", "--older-than", "9000d", "--yes"),),
    "db backup": (("db", "backup", "store.backup"),),
    "notify test": (("notify", "test"),),
    "notify list": (("notify", "list"),),
    "audit": (("audit",),),
    "doctor": (("doctor",),),
    "explain": (("explain",),),
}


#: Its lines are compared where it runs, beside workers: `tests/acceptance/test_rehearse.py`.
ELSEWHERE = "rehearse"


class Printer:
    """Runs commands with `--json` in a folder with a store where a campaign was sent."""

    def __init__(self, folder: Path, simulator: SimulatorProcess) -> None:
        self._folder = folder
        self._simulator = simulator
        self._config = folder / "dispatcher.toml"
        self._config.touch(mode=0o600)
        words = _CONFIG.format(folder=folder, base_url=simulator.base_url())
        self._config.write_text(words, encoding="utf-8")
        (folder / "people.csv").write_text(_PEOPLE, encoding="utf-8")
        url = f"sqlite:///{folder}/store.db"
        upgrade_store(url)
        with closing(Store(url)) as store:
            sent_campaign(store)

    def run(self, *args: str) -> Ended:
        """Run a command in the folder."""
        given = [str(self._folder / each) if each in _FILES else each for each in args]
        env: dict[str, str] = _PUSHING if args[0] == "receiver" else {}
        return in_process("--config", str(self._config), *given, folder=self._folder, env=env)

    def shapes(self) -> list[str]:
        """The shapes of all RUNS, sorted."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name, commands in RUNS.items():
            for args in commands:
                if args in _PREPARE or args[:2] in _PREPARE:
                    assert self.run(*args).code == 0
                    continue
                ended = self.run(*args, "--json")
                assert ended.out.startswith(("{", "[")), (args, ended)
                add_shape(found, name, json.loads(ended.out))
        add_shape(found, "simulator", self._simulator.ready_line)
        return shape_lines(found)


def add_shape(found: defaultdict[str, set[str]], name: str, printed: object) -> None:
    """Note the keys and types of what a command printed."""
    for path, kind in _walk(printed, f"{name}: "):
        found[path].add(kind)


def shape_lines(found: Mapping[str, set[str]]) -> list[str]:
    """A line per path with its types; null is last."""
    return [
        f"{path} {' or '.join(sorted(kinds, key=lambda kind: (kind == 'null', kind)))}"
        for path, kinds in sorted(found.items())
    ]


def lines_of(name: str) -> list[str]:
    """The lines on record for a command that RUNS does not have."""
    lines = FILE.read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith(f"{name}: ")]


def _walk(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield path, "object"
        for name, item in value.items():
            yield from _walk(item, f"{path}.{name}" if not path.endswith(" ") else f"{path}{name}")
    elif isinstance(value, list):
        yield path, "list"
        for item in value:
            yield from _walk(item, f"{path}[]")
    else:
        yield path, _TYPES[type(value)]


def main() -> int:
    """Write the file anew, or print what it should have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    is_written = parser.parse_args().write
    with (
        tempfile.TemporaryDirectory(prefix="shapes-") as folder,
        SimulatorProcess(seed=5, scale=100) as simulator,
    ):
        lines = Printer(Path(folder), simulator).shapes()
    text = "\n".join(sorted([*lines, *lines_of(ELSEWHERE)])) + "\n"
    if is_written:
        FILE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
