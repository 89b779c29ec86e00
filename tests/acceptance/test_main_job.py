"""The main job: 5,000 rows to the provider and back, at a rate, with real Celery processes."""

import base64
import csv
import itertools
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from dispatcher.local.celery import find_flower_port
from dispatcher.simulator.texts import fits_gsm7
from tests.support.simulator import status_of
from tests.support.stage import KEY, Stage, disagreements, fetched, stage, wait_for

pytestmark = pytest.mark.acceptance

PEOPLE = Path(__file__).parents[1] / "samples" / "india-5000.csv"
TEXT = "Dear {{Name|customer}}, your order {{Order}} is ready in {{City}}."
RATE = 500
SUBMIT_TASK = "dispatcher.submit"


def rendered(row: dict[str, str]) -> str:
    """The text of a row of the file or of the export, without the help of our templates."""
    return f"Dear {row['Name'] or 'customer'}, your order {row['Order']} is ready in {row['City']}."


class Monitor:
    """Every command that Redis gets, in a file: `with Monitor(socket, file): …`."""

    def __init__(self, broker: str, record: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(broker)
        self._socket.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._copy, args=(record,), daemon=True)

    def _copy(self, record: Path) -> None:
        with record.open("wb") as file:
            while piece := self._socket.recv(1 << 16):
                file.write(piece)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


class Run(NamedTuple):
    """A campaign of the whole file that has ended, and everything that was seen of it."""

    stage: Stage
    export: list[dict[str, str]]
    ledger: list[dict]
    #: What each place said that must hold no number, no text and no key.
    seen: dict[str, str]
    metrics: str
    #: The addresses that Flower listened on, with no address configured.
    flower_addresses: set[str]
    worker_pid: int


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """The whole file at 500 messages per second, watched by Flower and by Redis's MONITOR."""
    rate = {"messages_per_second": RATE}
    with stage(accounts={"main": rate}) as ours:
        ours.start(level="debug")
        port = find_flower_port(None)
        flower = f"http://127.0.0.1:{port}"
        ours.celery(
            "flower", f"--port={port}", "--max-tasks=100000",
            "--logging=debug",
            env={"FLOWER_UNAUTHENTICATED_API": "true"},
        )  # fmt: skip
        wait_for(lambda: fetched(f"{flower}/metrics"), "Flower")
        with Monitor(f"{ours.folder}/broker/broker.sock", ours.folder / "redis.log"):
            campaign = ours.submit(PEOPLE, "--text", TEXT)
            watched = ours.run("campaign", "watch", str(campaign.id))
            assert watched.code == 0, watched.err
            campaign.wait_until_over()
            wait_for(lambda: f'task="{SUBMIT_TASK}"' in fetched(f"{flower}/metrics"), "a metric")
        flowers = psutil.Process(ours.pid("flower")).net_connections()
        listens = {each.laddr.ip for each in flowers if each.status == psutil.CONN_LISTEN}
        tasks, metrics = fetched(f"{flower}/api/tasks"), fetched(f"{flower}/metrics")
        worker_pid = ours.pid("worker")
        for role in ("beat", "flower", "worker"):
            ours.stop(role)
        logs = {role: ours.said(role) for role in ("worker", "beat", "flower")}
        said = {"watch": watched.err + watched.out, "redis": decoded(ours.said("redis"))}
        yield Run(
            ours,
            campaign.export(),
            ours.provider.ledger(),
            {**logs, **said, "tasks": tasks},
            metrics,
            listens,
            worker_pid,
        )


def decoded(record: str) -> str:
    """MONITOR's record with the messages' bodies, which Celery writes in base64, made readable."""
    bodies = re.findall(r'\\"body\\": \\"([A-Za-z0-9+/=]+)\\"', record)
    return record + "\n".join(base64.b64decode(body).decode() for body in bodies)


def test_every_number_to_send_is_accepted_once_with_its_own_text_and_encoding(run):
    assert len(run.ledger) == len({entry["number"] for entry in run.ledger}) == 4935
    assert disagreements(run.export, run.ledger, rendered) == []
    assert all(entry["is_unicode"] == (not fits_gsm7(entry["text"])) for entry in run.ledger)


def test_requests_are_of_full_size_and_of_one_encoding_each_and_none_is_malformed(run):
    sizes = Counter((entry["request"], entry["is_unicode"]) for entry in run.ledger)
    by_encoding = [[n for (_, flag), n in sizes.items() if flag == wanted] for wanted in (0, 1)]
    assert by_encoding == [[2000, 2000, 815], [120]]
    stats = run.stage.provider.stats()
    assert (stats["malformed"], stats["flag_mismatches"], stats["needless_unicode"]) == (0, 0, 0)


def test_the_export_has_every_row_of_the_file_in_its_order(run):
    with PEOPLE.open(encoding="utf-8-sig", newline="") as file:
        people = list(csv.DictReader(file))
    assert len(run.export) == len(people) == 5000
    for number, (row, person) in enumerate(zip(run.export, people, strict=True), 2):
        assert row["row"] == str(number)
        assert {key: row[key].removeprefix("'") for key in person} == person
    states = Counter(row["state"] for row in run.export)
    assert (states["invalid"], states["duplicate"]) == (25, 40)
    assert states["delivered"] + states["undelivered"] == 4935


def test_final_states_are_those_that_the_provider_reports(run):
    words = {"delivered": "Delivered", "undelivered": "UnDelivered"}
    ours = {row["msisdn"]: words.get(row["state"]) for row in run.export if row["seq"]}
    theirs = {
        entry["mobile_number"]: entry["status_name"]
        for job_id in {entry["job_id"] for entry in run.ledger}
        for entry in status_of(run.stage.provider, job_id)["data"]
    }
    assert ours == theirs


def test_requests_keep_the_rate_and_lose_no_time(run):
    starts = sorted({entry["request"]: entry["at"] for entry in run.ledger}.values())
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert [gap >= least for gap, least in zip(gaps, (3.9, 3.9, 1.5), strict=True)] == [True] * 3
    arithmetic = (2000 + 2000 + 815) / RATE
    assert starts[-1] - starts[0] == pytest.approx(arithmetic, rel=0.05)


def test_flower_counts_this_runs_tasks_by_name_from_a_worker_of_its_own_process(run):
    counted = re.search(
        rf'flower_events_total{{task="{SUBMIT_TASK}",type="task-succeeded",worker="worker@[^"]+"}} '
        r"(\d+)",
        run.metrics,
    )
    assert counted, run.metrics
    assert int(counted[1]) >= 4
    # A tick a second would be most of what Flower keeps and shows.
    assert "dispatcher.tick" not in run.metrics + run.seen["tasks"]
    assert 'task="dispatcher.poll"' in run.metrics
    assert run.worker_pid != psutil.Process().pid


def test_flower_without_a_password_is_for_this_machine_only(run):
    assert run.flower_addresses == {"127.0.0.1"}


def test_no_number_text_or_key_is_in_logs_tasks_flower_or_redis(run):
    spoken = {
        "worker": "accepted", "beat": "", "flower": "events timer", "watch": "finished",
        "redis": SUBMIT_TASK, "tasks": SUBMIT_TASK,
    }  # fmt: skip
    assert {*run.seen} == {*spoken}
    numbers = {row["msisdn"] for row in run.export if row["msisdn"]}
    numbers |= {number[-10:] for number in numbers}
    orders = {row["Order"] for row in run.export}
    for place, said in run.seen.items():
        assert spoken[place] in said, f"nothing was looked at: {place}"
        assert not {*re.findall(r"\d{10,}", said)} & numbers, place
        assert not {*re.findall(r"OR\d+", said)} & orders, place
        assert "Dear" not in said, place
        assert "is ready in" not in said, place
        assert KEY not in said, place


def without_ids_and_times(export: list[dict[str, str]]) -> list[dict[str, str]]:
    own = {"provider_message_id", "job_id", "submitted_at", "final_at"}
    return [{key: value for key, value in row.items() if key not in own} for row in export]


@pytest.mark.postgres
def test_the_same_campaign_on_postgresql_gives_the_same_export(run, postgres_url):
    with stage(store_url=postgres_url) as other:
        other.start()
        campaign = other.submit(PEOPLE, "--text", TEXT)
        campaign.wait_until_over()
        export = campaign.export()
        assert disagreements(export, other.provider.ledger(), rendered) == []
    assert without_ids_and_times(export) == without_ids_and_times(run.export)
