"""`dispatcher rehearse`: a campaign at simulated providers, and nothing of it is left."""

import json
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.support.cli import clean_environment, in_process
from tests.support.folders import FOLDER
from tests.support.json_shapes import ELSEWHERE, add_shape, lines_of, shape_lines
from tests.support.stage import wait_for

pytestmark = pytest.mark.acceptance

#: The provider's real address, a key that is not set, a store and a broker that do not exist.
CONFIG = """
[store]
url = "postgresql://nobody@127.0.0.1:9/none"
[broker]
url = "redis://127.0.0.1:9/0"
[accounts.main]
provider = "thesmspoint"
api_key = "$NO_SUCH_KEY"
sender = "ACMECO"
template = "ORDERS"
country = "IN"
timezone = "Asia/Kolkata"
windows = ["mon-fri 09:00-18:00"]
messages_per_second = 5
"""
PEOPLE = "phone,name\n" + "".join(f"98200112{n},Asha {n}\n" for n in range(10, 90)) + "n/a,Nobody\n"
#: A Monday within the two weeks to come.
MONDAY = datetime.now(UTC).date() + timedelta(days=14 - datetime.now(UTC).weekday())
ARGS = [
    "rehearse", "people.csv", "--text", "Dear {{name}}, see you on Monday",
    "--start-at", f"{MONDAY}T09:00", "--yes",
]  # fmt: skip


class Rehearsed(NamedTuple):
    """A rehearsal that has ended: exit code, output, and what it left in its folders."""

    code: int
    out: str
    left: list[str]


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    (folder / "tmp").mkdir(parents=True)
    (folder / "dispatcher.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    # Names a real account, store and broker: none of them may be used.
    env = clean_environment(folder) | {
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        # Nothing that it prints may end it.
        "PYTHONIOENCODING": "ascii",
        "DISPATCHER_ACCOUNTS__MAIN__BASE_URL": "http://127.0.0.1:9/real",
        "DISPATCHER_STORE__URL": f"sqlite:///{folder}/real.db",
    }
    with (folder / "out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", *ARGS, *more],
            cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip


def ended(folder: Path, process: subprocess.Popen[bytes]) -> Rehearsed:
    given = {"dispatcher.toml", "people.csv", "out"}
    code = process.wait(90)
    left = [str(path) for path in folder.rglob("*") if path.is_file() and path.name not in given]
    assert list((folder / "tmp").iterdir()) == []
    return Rehearsed(code, (folder / "out").read_text("utf-8"), left)


@pytest.fixture(scope="module")
def rehearsals() -> Iterator[dict[str, Rehearsed]]:
    """One that runs to its end, and one that is interrupted after a child was killed."""
    with tempfile.TemporaryDirectory(prefix="rehearse-", dir=FOLDER) as name:
        whole, cut = Path(name, "whole"), Path(name, "cut")
        processes = [start(whole, "--json"), start(cut)]
        try:
            log = cut / "out"
            wait_for(lambda: "0/80 submitted" in log.read_text("utf-8"), "the first progress")
            family = psutil.Process(processes[1].pid).children(recursive=True)
            next(one for one in family if "simulator" in one.cmdline()).kill()
            processes[1].send_signal(signal.SIGINT)
            yield {"whole": ended(whole, processes[0]), "cut": ended(cut, processes[1])}
            assert not [one for one in family if one.is_running()]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def test_the_campaign_ran_though_neither_key_nor_store_nor_provider_exist(rehearsals):
    code, out, left = rehearsals["whole"]
    assert code == 0, out
    shown = json.loads(out)
    counts = shown["counts"]
    states = ("submitted", "delivered", "undelivered", "expired")
    assert sum(counts.get(state, 0) for state in states) == 80
    assert (shown["rehearsed"], shown["total"], shown["invalid"], shown["parts"]) == (80, 80, 1, 80)
    # 80 recipients at 5/s: a request carries ten seconds' worth, and the rehearsal is faster.
    assert shown["requests"] == 2
    assert shown["faster"] > 1
    # The two requests may leave in either order.
    assert [sent["text"] for sent in shown["texts"]] in [
        [f"Dear Asha {first + n}, see you on Monday" for n in range(3)] for first in (10, 60)
    ]
    assert shown["forecast"]["first_at"] == f"{MONDAY}T03:30:00.000Z"
    assert "--start-at" in shown["skipped"][0]
    assert shown["cost_estimate"] is None
    assert shown["next"].startswith("dispatcher campaign submit people.csv --text 'Dear {{name}}")
    assert left == []


def test_the_keys_and_types_of_its_json_are_those_on_record(rehearsals):
    shown = json.loads(rehearsals["whole"].out)
    found = defaultdict(set)
    # Which states and reasons there are is chance, or the file's.
    add_shape(found, ELSEWHERE, shown | {"counts": {"total": 80}, "reasons": {}})
    assert shape_lines(found) == lines_of(ELSEWHERE)


def test_nothing_is_left_after_ctrl_c_and_a_killed_simulator(rehearsals):
    code, out, left = rehearsals["cut"]
    assert code not in {0, 2, 3}, out
    assert "Traceback" not in out
    assert left == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--contact-list", "7"], "a contact list cannot be rehearsed"),
        (["people.csv", "--dry-run", "--test-to", "+919820011223"], "--dry-run sends nothing"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_before_anything_starts(args, said, tmp_path):
    refused = in_process("rehearse", *args, "--text", "Hi", folder=tmp_path)
    assert refused.code in {2, 3}
    assert said in refused.err
