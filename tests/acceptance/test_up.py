"""`dispatcher up` with real processes: it is ready, it heals, it ends with nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from dispatcher.local.broker import socket_path
from tests.support.folders import FOLDER

pytestmark = pytest.mark.acceptance

CONFIG = """
[accounts.main]
provider = "thesmspoint"
base_url = "http://127.0.0.1:9"
api_key = "none"
sender = "SENDER"
template = "TEMPLATE"
timeout_s = 5
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For the store and the broker; short, since the path of a socket is limited."""
    with (
        tempfile.TemporaryDirectory(prefix="dispatcher-up-", dir=FOLDER) as name,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


class Up:
    """`dispatcher up` over a store in `folder`, and what it printed so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "dispatcher.toml").write_text(CONFIG)
        self.broker_folder = socket_path(f"sqlite:///{folder / 'dispatcher.db'}").parent
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "up", *options],
            cwd=folder,
            # Nothing that it or its processes print may end them.
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONIOENCODING": "ascii"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []

    def wait_for(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if re.search(pattern, line):
                return line
        pytest.fail(f"it ended without {pattern!r}: {''.join(self.said)}")

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by what they are."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            kind = re.search(r"\b(-server|worker|beat|flower)\b", " ".join(child.cmdline()))
            assert kind, child.cmdline()
            found[kind[1].replace("-server", "broker")] = child
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def running(folder) -> Iterator["Up"]:
    """One that is ready; the tests that share it let it go on."""
    with Up(folder, "--workers", "1") as up:
        up.wait_for(r"^ready: ")
        yield up


def test_a_second_up_on_the_same_store_is_refused_and_the_first_goes_on(running, folder):
    with Up(folder) as second:
        second.wait_for(f"Error: .*already running, pid {running.process.pid}")
        assert second.process.wait(10) == 1
    assert set(running.children()) >= {"worker", "beat"}
    assert running.broker_folder.exists()


def test_a_killed_worker_and_a_killed_broker_are_started_again(running):
    running.children()["worker"].kill()
    running.wait_for(r"^worker ended \(status -9\)")
    running.wait_for(r"^worker\|.* ready\.$")
    running.children()["broker"].kill()
    running.wait_for("the broker stopped and was restarted")
    running.wait_for(r"^worker\|.*Connected to redis\+socket")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_kill_9_leaves_no_process(running):
    children = list(running.children().values())
    running.process.kill()
    _, left = psutil.wait_procs(children, timeout=10)
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]


def test_after_kill_9_the_next_one_starts_and_ctrl_c_ends_all_of_it_within_ten_seconds(
    running, folder
):
    running.process.kill()
    running.process.wait()
    with Up(folder, "--flower", "--workers", "1") as up:
        up.wait_for(r"^ready: ")
        up.wait_for(r"^flower: http://127\.0\.0\.1:\d+$")
        children = up.children()
        assert set(children) == {"beat", "worker", "flower", "broker"}
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        up.wait_for("^stopping: .*Ctrl-C again")
        up.wait_for("^stopped$")
        assert up.process.wait(10) == 0
        assert time.monotonic() - began < 10
        assert not any(child.is_running() for child in children.values())
        assert not up.broker_folder.exists()
        assert not [line for line in up.said if "ERROR" in line or "killed" in line]
