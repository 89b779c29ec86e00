"""Every systemd unit's own command line, as an unprivileged user, with a real store and broker."""

import socket
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from dispatcher.local import celery
from dispatcher.local.broker import find_server_binary
from dispatcher.store.engine import Store
from dispatcher.store.scheduler import last_tick_at
from tests.support.cli import ROOT
from tests.support.folders import FOLDER
from tests.support.stage import wait_for
from tests.support.units import UNITS, UnitProcess, make_nobodys

pytestmark = pytest.mark.acceptance

ACCOUNT = """
[accounts.main]
provider = "thesmspoint"
base_url = "http://127.0.0.1:9"
api_key = "$KEY"
sender = "SENDER"
template = "TEMPLATE"
"""
PASSWORD = "of-this-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def broker_port(tmp_path):
    """A server with a password, on TCP."""
    port = free_port()
    argv = [find_server_binary(), "--port", port, "--bind", "127.0.0.1", "--save", ""]
    argv += ["--requirepass", PASSWORD, "--dir", tmp_path]
    with subprocess.Popen([str(each) for each in argv], stdout=subprocess.DEVNULL) as server:
        yield port
        server.terminate()


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="units-", dir=FOLDER) as name:
        made = make_nobodys(Path(name))
        for path in UNITS:
            (made / path.stem).mkdir()
            make_nobodys(made / path.stem)
        yield made


def write_config(folder: Path, name: str, tables: str) -> str:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(tables + ACCOUNT)
    make_nobodys(path)
    return str(path)


@pytest.mark.postgres
def test_each_unit_starts_works_and_ends(folder, postgres_url, broker_port):
    url = f"redis://:{PASSWORD}@127.0.0.1:{broker_port}/0"
    ours = write_config(
        folder, "dispatcher.toml", f'[store]\nurl = "{postgres_url}"\n[broker]\nurl = "{url}"\n'
    )
    alone = write_config(folder, "alone.toml", f'[store]\nurl = "sqlite:///{folder}/a.db"\n')
    flower_port, metrics_port, receiver_port = free_port(), free_port(), free_port()
    env = {"KEY": "key", "DISPATCHER_CONFIG": ours, "FLOWER_PORT": str(flower_port)}
    own = {**env, "DISPATCHER_CONFIG": alone, "XDG_RUNTIME_DIR": str(folder)}
    instead = {
        "9109": str(metrics_port),
        "9110": str(receiver_port),
        "--conf=/etc/dispatcher/flowerconfig.py": f"--conf={ROOT}/deploy/flowerconfig.py",
    }
    with ExitStack() as stack:
        started = {
            path.stem.removeprefix("dispatcher-").rstrip("@"): stack.enter_context(
                UnitProcess(
                    path, folder, own if path.stem == "dispatcher-up" else env, instead=instead
                )
            )
            for path in UNITS
        }
        for unit in started.values():
            if unit.is_notifying:
                unit.wait_for_state("READY=1")
                unit.wait_for_state("WATCHDOG=1")
        store = Store(postgres_url)
        stack.callback(store.close)

        def has_ticked():
            with store.read() as conn:
                return last_tick_at(conn)

        wait_for(has_ticked, "a tick that beat sent and the worker made")
        wait_for(lambda: answers(metrics_port, "/healthz"), "metrics")
        wait_for(lambda: answers(flower_port, "/healthcheck"), "Flower")
        wait_for(lambda: celery.is_listening(receiver_port), "the receiver")
        for unit in started.values():
            unit.process.terminate()
        codes = {name: unit.process.wait(60) for name, unit in started.items()}
    assert codes == dict.fromkeys(started, 0)


def answers(port: int, path: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False
