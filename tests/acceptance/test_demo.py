"""`dispatcher demo`: everything starts, the file goes through, and nothing is left."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from dispatcher.local.celery import is_listening
from tests.support.cli import clean_environment
from tests.support.folders import FOLDER
from tests.support.stage import fetched, wait_for

pytestmark = pytest.mark.acceptance

SUBMITTED = re.compile(
    r'flower_events_total\{task="dispatcher\.submit",type="task-succeeded",worker="([^"]+)"\} (\d+)'
)


FLOWER = re.compile(r"^flower: (http://127\.0\.0\.1:(\d+))$", re.MULTILINE)
KIND = re.compile(r"-server|simulator|\bworker\b|\bbeat\b|\bflower\b")


class Shown(NamedTuple):
    """A demo that has ended."""

    code: int
    out: str
    seconds: float
    flower_port: int
    #: What Flower counted of submissions before the end: worker and number of tasks.
    counted: tuple[str, int]
    #: The processes that it ran, by what they are.
    family: dict[str, psutil.Process]
    #: Where its temporary files were, and its user's home.
    folder: Path
    home: Path


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """One demo with Flower, in a temporary folder of its own."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir=FOLDER) as name:
        folder, log = Path(name), Path(name, "out")
        temporary = folder / "t"
        temporary.mkdir()
        env = {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        # Nothing that it or its processes print may end them.
        env["PYTHONIOENCODING"] = "ascii"
        # What is configured on a person's machine takes no part.
        env["DISPATCHER_STORE__URL"] = "postgresql://nobody@127.0.0.1:9/none"
        began = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "dispatcher", "demo", "--flower"],
                cwd=folder,
                env=clean_environment(folder) | env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            found = wait_for(
                lambda: FLOWER.search(log.read_text()),
                "Flower's address",
            )
            metrics = f"{found[1]}/metrics"
            counted = wait_for(lambda: SUBMITTED.search(fetched(metrics)), "a task in its metrics")
            family = relatives(process.pid)
            code = process.wait(60)
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - began
        worker = (counted[1], int(counted[2]))
        yield Shown(
            code, log.read_text(), seconds, int(found[2]), worker, family, temporary, folder
        )


def relatives(pid: int) -> dict[str, psutil.Process]:
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        if kind := KIND.search(" ".join(child.cmdline())):
            found.setdefault(kind[0], child)
    return found


def test_it_ends_well_within_a_minute_with_a_summary(shown):
    assert shown.code == 0, shown.out
    assert shown.seconds < 60
    table = dict(re.findall(r"^(\w[\w ]*?) +(\d+)$", shown.out, re.MULTILINE))
    assert (table["total"], table["invalid"], table["duplicate"]) == ("4935", "25", "40")
    states = ("submitted", "delivered", "undelivered", "expired")
    assert sum(int(table.get(state, 0)) for state in states) == 4935
    batches = re.findall(r"^ +(\d) +(GSM-7|UCS-2) +(\d+)", shown.out, re.MULTILINE)
    assert batches == [
        ("1", "GSM-7", "2000"),
        ("2", "GSM-7", "2000"),
        ("3", "GSM-7", "815"),
        ("4", "UCS-2", "120"),
    ]
    assert "25 invalid, 40 duplicate" in shown.out
    assert re.search(r"^  row \d+: invalid: ", shown.out, re.MULTILINE)
    assert "4935 messages accepted, 0 numbers twice" in shown.out
    times = re.search(
        r"^first batch accepted after: (\d+\.\d) s\nwall time: (\d+\.\d) s$",
        shown.out,
        re.MULTILINE,
    )
    assert times is not None
    assert 0 < float(times[1]) < float(times[2])


def test_progress_is_shown_while_it_runs(shown):
    lines = [line for line in shown.out.splitlines() if line.startswith("running")]
    assert len(lines) >= 3
    assert re.search(r"\d+/4935 submitted - \d+ delivered - .*messages/s - .* left", shown.out)


def test_flower_shows_its_tasks_from_a_worker_in_a_process_of_its_own(shown):
    worker, number = shown.counted
    assert worker.startswith("worker1@")
    assert number >= 1
    assert {*shown.family} == {"-server", "simulator", "worker", "beat", "flower"}
    assert shown.family["worker"].pid not in {os.getpid(), shown.family["flower"].pid}


def test_it_leaves_no_process_no_port_and_no_file(shown):
    assert not [kind for kind, process in shown.family.items() if process.is_running()]
    assert not is_listening(shown.flower_port)
    assert list(shown.folder.iterdir()) == []
    left = [path for path in shown.home.rglob("*") if path.is_file() and path != shown.home / "out"]
    assert left == []
