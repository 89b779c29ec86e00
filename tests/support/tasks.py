"""The five tasks of every day, as transcripts: run over a store with a campaign, and compared.

`python -m tests.support.tasks --write` runs their commands and writes dispatcher/cli/TASKS.md anew;
what stands around the transcripts stays. Times, dates and people are the document's own.
"""

import contextlib
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from dispatcher.store.engine import Store, store_now
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from tests.support.cli import Ended, in_process
from tests.support.simulator import SimulatorProcess
from tests.support.stores import change, order, submit
from tests.support.workbooks import sheet_of, xlsx

DOCUMENT = Path(__file__).parents[2] / "dispatcher" / "cli" / "TASKS.md"
_BLOCK = re.compile(r"(```text\n)(\$ .*?)(```)", re.DOTALL)
_CONFIG = """
[store]
url = "sqlite:///dispatcher.db"
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
base_url = "{base_url}"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
messages_per_second = 200
"""
_PEOPLE = [["Name", "Mobile", "City"], ["Asha", "+91 98200 11222", "Pune"],
           ["Bela", 9820011223.0, "Agra"], ["Chandra", "98200 11224", "Pune"],
           ["Devi", "98200", "Agra"]]  # fmt: skip
#: Of 5,000 recipients every sixteenth was not reached: 312.
_RECIPIENTS = 5000
_NOT_REACHED = "seq % 16 = 0 AND seq < 312 * 16"
#: What differs between two runs; the document shows what it was when it was written.
_MASKS = (
    (re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?=\d{4}-)"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"by \S+@\S+(?: \(sudo by \S+\))?|TIME \S+@\S+(?: \(sudo by \S+\))?:"), "WHO"),
)


class Desk:
    """A folder with a configuration, a workbook, and a store where `spring` was sent."""

    def __init__(self, folder: Path, simulator: SimulatorProcess) -> None:
        self._folder = folder
        config = folder / "dispatcher.toml"
        config.touch(mode=0o600)
        config.write_text(_CONFIG.format(base_url=simulator.base_url()), encoding="utf-8")
        xlsx(folder / "people.xlsx", {"People": sheet_of(_PEOPLE)})
        url = f"sqlite:///{folder / 'dispatcher.db'}"
        upgrade_store(url)
        with closing(Store(url)) as store:
            _send_spring(store)

    def run(self, command: str) -> Ended:
        """A line of a transcript."""
        name, *words = shlex.split(command)
        assert name == "dispatcher"
        with contextlib.chdir(self._folder):
            return in_process(*words, folder=self._folder, env={"XDG_STATE_HOME": "."})


def _send_spring(store: Store) -> None:
    """A campaign of 5,000 recipients that was sent yesterday; 312 of them were not reached."""
    rows = "".join(f"{919_820_020_000 + n},N{n}\n" for n in range(_RECIPIENTS))
    wanted = order(f"phone,name\n{rows}", text="Dear {{name}}, our sale ends on Sunday.")
    campaign = submit(store, wanted)
    with store.write() as conn:
        sent = store_now(conn) - timedelta(days=1)
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state="finished", created_at=sent,
               started_at=sent, finished_at=sent + timedelta(hours=2))  # fmt: skip
        batches = conn.execute(BATCH.select()).all()
        conn.execute(
            ATTEMPT.insert(),
            [{"id": batch.id, "campaign_id": campaign, "batch_id": batch.id, "account": "main",
              "outcome": 1, "begun_at": sent, "ended_at": sent, "deadline": sent,
              "size": batch.size, "job_id": f"7052{batch.id:04}"} for batch in batches],
        )  # fmt: skip
        change(conn, MESSAGE, MESSAGE.c.campaign_id == campaign, state=2, attempts=1,
               final_at=sent + timedelta(seconds=9))  # fmt: skip
        for statement in _OUTCOMES:
            conn.execute(text(statement))


_OUTCOMES = (
    """UPDATE message SET provider_message_id = '33617' || (100000 + seq), attempt_id =
    (SELECT id FROM batch WHERE first_seq <= seq AND seq < first_seq + size)""",
    f"UPDATE message SET state = 3, error = 'UnDelivered' WHERE {_NOT_REACHED}",
    f"UPDATE message SET error = 'Blocked' WHERE {_NOT_REACHED} AND seq % 160 = 0",
    """UPDATE batch SET state = 4, pending = 0,
    delivered = (SELECT count(*) FROM message
                 WHERE state = 2 AND first_seq <= seq AND seq < first_seq + size),
    undelivered = (SELECT count(*) FROM message
                   WHERE state = 3 AND first_seq <= seq AND seq < first_seq + size)""",
)


def transcripts() -> Iterator[list[tuple[str, list[str]]]]:
    """Each block of the document: its commands, and the lines that each printed."""
    for found in _BLOCK.finditer(DOCUMENT.read_text("utf-8")):
        steps: list[tuple[str, list[str]]] = []
        for line in found[2].replace("\\\n    ", "").splitlines():
            if line.startswith("$ "):
                steps.append((line.removeprefix("$ "), []))
            else:
                steps[-1][1].append(line)
        yield steps


def printed_lines(ended: Ended) -> list[str]:
    """What a person sees, without blanks at the end."""
    return [line.rstrip() for line in (ended.out + ended.err).rstrip().splitlines()]


def mask(line: str) -> str:
    """A line without what differs between two runs."""
    for pattern, word in _MASKS:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def main() -> None:
    """Write the document anew."""
    blocks = [[command for command, _ in steps] for steps in transcripts()]
    with (
        tempfile.TemporaryDirectory(prefix="tasks-") as folder,
        SimulatorProcess(seed=5, scale=100) as simulator,
    ):
        desk = Desk(Path(folder), simulator)
        made = []
        for commands in blocks:
            lines = []
            for command in commands:
                lines += [f"$ {command}", *printed_lines(desk.run(command))]
            made.append("\n".join(lines) + "\n")
    words = DOCUMENT.read_text("utf-8")
    shown = iter(made)
    if "--write" in sys.argv:
        written = _BLOCK.sub(lambda found: found[1] + next(shown) + found[3], words)
        DOCUMENT.write_text(written, encoding="utf-8")
    else:
        print("\n".join(made))


if __name__ == "__main__":
    main()
