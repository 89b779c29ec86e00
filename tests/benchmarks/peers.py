"""Naive peers: Celery batches with ORM updates, and a Celery task per message.

    python -m tests.benchmarks.peers [--count 20000] [--store sqlite|postgres]

The tasks are in `naive_app.py`. Real Celery processes, a private broker, durable commits: the same
work as the program's, without its promises.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from kombu import Connection
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from dispatcher.local.broker import EmbeddedBroker
from tests.benchmarks import naive_app
from tests.benchmarks.bulk import lean_provider, write_people
from tests.benchmarks.naive_app import Message
from tests.support.folders import FOLDER
from tests.support.postgres_server import DURABLE, running_server
from tests.support.simulator import SimulatorProcess

if TYPE_CHECKING:
    from celery import Task

_FIRST = 919_800_000_000
_WORKERS = 4
_WITHIN_S = 900.0


@dataclass(frozen=True, slots=True)
class Peer:
    """What a run took, and the processor time of its workers."""

    total_s: float
    cpu_s: float


def celery_batches(people: Path, count: int, store_url: str, receipts_s: float) -> Peer:
    """CSV in, a task per 2,000 recipients, objects updated; until every receipt is stored."""
    with lean_provider(receipts_s) as base, _worker(store_url, base) as worker:
        began = time.monotonic()
        engine = naive_app.open_engine(store_url)
        naive_app.Base.metadata.create_all(engine)
        with people.open(newline="") as file, Session(engine) as session:
            for row in csv.DictReader(file):
                session.add(Message(msisdn=row["phone"], name=row["name"]))
            session.commit()
            firsts = range(session.scalar(select(func.min(Message.id))) or 0, count + 1)
        for first in firsts[:: naive_app.SIZE]:
            worker.publish(naive_app.send_batch, first)
        worker.wait_until(count, ("delivered", "undelivered"))
        return Peer(time.monotonic() - began, worker.cpu_s())


def celery_task_per_message(count: int, store_url: str) -> Peer:
    """Recipients are in the store; a task, a request and an update for each."""
    with ExitStack() as stack:
        provider = stack.enter_context(SimulatorProcess(options=("--key", naive_app.KEY)))
        worker = stack.enter_context(_worker(store_url, provider.base_url("smsnoc")))
        engine = naive_app.open_engine(store_url)
        naive_app.Base.metadata.create_all(engine)
        with Session(engine) as session:
            rows = [{"id": n, "msisdn": str(_FIRST + n), "name": f"OR{n}"} for n in range(count)]
            session.execute(insert(Message), rows)
            session.commit()
        began = time.monotonic()
        for n in range(count):
            worker.publish(naive_app.send_one, n)
        worker.wait_until(count, ("submitted",))
        return Peer(time.monotonic() - began, worker.cpu_s())


class _Worker:
    def __init__(
        self, store_url: str, process: "subprocess.Popen[bytes]", connection: Connection
    ) -> None:
        self._engine, self._process = naive_app.open_engine(store_url), process
        self._producer = naive_app.app.amqp.Producer(connection)

    def publish(self, task: "Task[Any, Any]", *args: int) -> None:
        task.apply_async(args, producer=self._producer)

    def wait_until(self, count: int, states: tuple[str, ...]) -> None:
        deadline = time.monotonic() + _WITHIN_S
        query = select(func.count()).where(Message.state.in_(states))
        while True:
            with Session(self._engine) as session:
                done = session.scalar(query)
            if done == count:
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the peer has {done} of {count}")
            time.sleep(0.2)

    def cpu_s(self) -> float:
        """Of the worker and its children."""
        main = psutil.Process(self._process.pid)
        times = [each.cpu_times() for each in (main, *main.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))


@contextmanager
def _worker(store_url: str, base: str) -> Iterator[_Worker]:
    with tempfile.TemporaryDirectory(prefix="peer-", dir=FOLDER) as name, ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker(Path(name, "broker", "broker.sock")))
        env = os.environ | {
            "NAIVE_BROKER": broker.url, "NAIVE_STORE": store_url, "NAIVE_PROVIDER": base,
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        connection = stack.enter_context(naive_app.app.connection_for_write(broker.url))
        words = f"-m celery -q -A tests.benchmarks.naive_app worker -c {_WORKERS} -l error"
        quick = "--without-mingle --without-gossip --without-heartbeat"
        with Path(name, "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words.split(), *quick.split()], env=env, stdout=log, stderr=log
            )
        try:
            _wait_until_ready(process, Path(name, "log"))
            yield _Worker(store_url, process, connection)
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            for each in (process, *started):
                each.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while b"ready" not in log.read_bytes():
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError(f"the peer's worker did not start: {log.read_text()[-500:]}")
        time.sleep(0.05)


@contextmanager
def new_store(kind: str) -> Iterator[str]:
    """The URL of an empty store, without tables."""
    with ExitStack() as stack:
        if kind == "postgres":
            server = stack.enter_context(running_server(DURABLE))
            yield stack.enter_context(server.database())
        else:
            made = tempfile.TemporaryDirectory(prefix="peer-", dir=FOLDER)
            yield f"sqlite:///{stack.enter_context(made)}/peer.db"


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    with new_store(given.store) as url, tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        people = Path(folder, "people.csv")
        write_people(people, given.count)
        bulk = celery_batches(people, given.count, url, 1.0)
        print(f"batches and objects: {bulk.total_s:.1f} s, {bulk.cpu_s:.1f} s of processor time")
    with new_store(given.store) as url:
        one = celery_task_per_message(given.count // 10, url)
        print(f"a task per message: {given.count / 10 / one.total_s:.0f} messages/s")


if __name__ == "__main__":
    main()
