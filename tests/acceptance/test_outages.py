"""What goes away and comes back: broker, store, the process itself. Nobody twice, nobody in doubt.

Real Celery processes over the simulator; times are shortened, and the long editions say so.
"""

import fcntl
import os
import select
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from celery import Celery

from dispatcher.campaigns.view import CampaignView
from dispatcher.local import children
from dispatcher.store.corrections import load_corrections
from dispatcher.store.tables import ATTEMPT
from tests.support import warm
from tests.support.cli import clean_environment, dispatcher, in_process
from tests.support.stage import Campaign, Stage, disagreements, stage, wait_for
from workers.watchdog import EXIT_STALLED

if TYPE_CHECKING:
    from tests.support.warm import Warm

pytestmark = pytest.mark.acceptance

#: Seconds that an outage lasts: `OUTAGE_S=60` for the long edition.
OUTAGE_S = float(os.environ.get("OUTAGE_S", "6"))
#: The account of most tests: batches of 20, 100 messages a second.
PACED = {"main": {"max_recipients": 20, "max_in_flight": 3, "messages_per_second": 100}}


def wrong(campaign: Campaign) -> list[str]:
    ledger = campaign.stage.provider.ledger()
    return disagreements(campaign.export(), ledger, lambda _: "Your order is ready.")


def assert_nobody_twice_or_in_doubt(campaign: Campaign, count: int) -> None:
    """Once everything was submitted; receipts are not waited for."""
    counts = campaign.wait_until(is_settled, "the last submission").counts
    assert (counts["total"], counts["in_doubt"], counts["failed"]) == (count, 0, 0)
    stats = campaign.stage.provider.stats()
    assert (stats["accepted"], stats["doubles"]) == (count, 0)
    assert wrong(campaign) == []


def is_settled(view: CampaignView) -> bool:
    left = sum(view.batches[state] for state in ("pending", "queued", "claimed", "submitting"))
    return not left and not view.counts["in_doubt"]


def sent(campaign: Campaign) -> int:
    return campaign.counts["total"] - campaign.counts["pending"]


def attempts(ours: Stage) -> int:
    with ours.store.read() as conn:
        return len(conn.execute(sa.select(ATTEMPT.c.id)).all())


class Workers:
    """Further workers of a stage, which end by themselves when asked to."""

    def __init__(self, ours: Stage) -> None:
        self._stage = ours
        self._running: dict[str, Warm] = {}

    def start(self, name: str) -> None:
        """Start it, and wait until it takes tasks."""
        args = ["-q", "-A", "workers", "worker", "-l", "info"]
        args += ["--without-mingle", "--without-gossip", "-n", f"{name}@%h"]
        before = self._stage.said(name).count(" ready.")
        self._running[name] = warm.spawn(
            "celery",
            args,
            folder=self._stage.folder,
            env=clean_environment(self._stage.folder) | self._stage.env,
            out=self._stage.log(name),
        )
        wait_for(lambda: self._stage.said(name).count(" ready.") > before, name)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def end(self, name: str, *, within_s: float = 40) -> int:
        """SIGTERM, as a deploy does; its exit code."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(within_s)
        finally:
            children.kill_child(process)

    def wait(self, name: str, *, within_s: float = 40) -> int:
        """Its exit code, once it has ended by itself."""
        code = self._running[name].wait(within_s)
        del self._running[name]
        return code

    def close(self) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            children.kill_child(process)


@contextmanager
def scene(**given: object) -> Iterator[tuple[Stage, Workers]]:
    """A stage with beat; workers are the test's to start."""
    with ExitStack() as stack:
        # A command in this process would leave its connections to a server open.
        command = dispatcher if "store_url" in given else in_process
        given = {"accounts": PACED, "command": command, **given}
        ours = stack.enter_context(stage(**given))
        workers = Workers(ours)
        stack.callback(workers.close)
        ours.celery("beat", "-l", "info", "--pidfile=")
        yield ours, workers


# --- Deploys ----------------------------------------------------------------------------------


def test_a_deploy_in_mid_campaign_leaves_nothing_in_doubt_and_nobody_twice():
    count = 500
    with scene() as (ours, workers):
        ours.provider.fault("slow", on="submit", params={"ms": 300})
        names = ["w1", "w2"]
        for name in names:
            workers.start(name)
        campaign = ours.submit(ours.people(count, first=919850000000))
        deploys = 0
        while sent(campaign) < count:
            name = names[deploys % 2]
            before = sent(campaign)
            wait_for(lambda: sent(campaign) >= min(before + 100, count), "some more sent")  # noqa: B023
            assert workers.end(name) == 0
            workers.start(name)
            deploys += 1
        assert deploys >= 2
        assert_nobody_twice_or_in_doubt(campaign, count)
        with ours.store.read() as conn:
            lost = [what for what in load_corrections(conn) if "lease" in what]
        assert lost == []


# --- The broker -------------------------------------------------------------------------------


def test_sending_resumes_within_ten_seconds_of_the_broker_and_the_log_did_not_fill():
    count = 600
    # As long as by default: nothing of it may be needed.
    with scene(worker={"requeue_after_s": 30}) as (ours, workers):
        workers.start("w1")
        campaign = ours.submit(ours.people(count, first=919851000000))
        wait_for(lambda: sent(campaign), "the first batch")
        assert ours.broker is not None
        ours.broker.stop()
        before = sum(ours.said(role).count("\n") for role in ("w1", "beat"))
        let_pass(OUTAGE_S)
        logged = sum(ours.said(role).count("\n") for role in ("w1", "beat")) - before
        assert logged < 30 + OUTAGE_S, ours.said("beat")[-2000:]
        had = sent(campaign)
        ours.broker.start()
        wait_for(lambda: sent(campaign) > had, "sending to resume", within_s=10)
        assert "Traceback" not in ours.said("w1")
        assert_nobody_twice_or_in_doubt(campaign, count)


def test_a_worker_that_no_longer_consumes_ends_itself_and_its_successor_sends():
    with scene(worker={"stall_after_s": 5}) as (ours, workers):
        workers.start("w1")
        assert ours.broker is not None
        with Celery(broker=ours.broker.url) as remote:
            for queue in ("scheduler", "polls", "submit.main"):
                said = remote.control.cancel_consumer(queue, reply=True, timeout=10, limit=1)
                assert "no longer consuming" in str(said)
        # Somebody else's tick releases, and what it publishes nobody here takes.
        campaign = ours.submit(ours.people(40, first=919852000000))
        release_by_hand(ours)
        assert workers.wait("w1") == EXIT_STALLED
        assert "it is stalled" in ours.said("w1")
        assert attempts(ours) == 0
        workers.start("w1")
        assert_nobody_twice_or_in_doubt(campaign, 40)


def release_by_hand(ours: Stage) -> None:
    """Release what is due without publishing it, as a scheduler whose broker fails does."""
    from dispatcher.config.settings import load_settings
    from dispatcher.outbound.release import release_batches
    from dispatcher.store import accounts, campaigns
    from dispatcher.store.engine import store_now

    settings = load_settings(ours.config, {})
    with ours.store.write() as conn:
        now = store_now(conn)
        accounts.create_missing_accounts(conn, settings.accounts)
        campaigns.start_due(conn, now)
        assert release_batches(conn, "main", settings.account("main"), now)


# --- The store --------------------------------------------------------------------------------


@contextmanager
def locked(ours: Stage) -> Iterator[None]:
    """Nobody can write to the SQLite store meanwhile, as while a backup program holds it."""
    with Path(f"{ours.store.url.database}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = sqlite3.connect(ours.store.url.database, timeout=30, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.close()


def test_a_store_that_is_locked_costs_time_only_even_where_the_worker_must_end_meanwhile():
    with scene() as (ours, workers):
        ours.provider.fault("slow", on="submit", params={"ms": 500})
        workers.start("w1")
        campaign = ours.submit(ours.people(300, first=919853000000))
        wait_for(lambda: campaign.view.batches["submitting"], "something in flight")
        with locked(ours):
            # Longer than a lease.
            let_pass(max(7.0, OUTAGE_S))
            assert ours.provider.stats()["accepted"] <= attempts(ours) * 20
        assert_nobody_twice_or_in_doubt(campaign, 300)
        assert "Traceback" not in ours.said("w1")
        assert ours.said("w1").count("\n") < 200

        ours.provider.reset()
        ours.provider.fault("slow", on="submit", params={"ms": 1500})
        campaign = ours.submit(ours.people(60, first=919854000000))
        wait_for(lambda: campaign.view.batches["submitting"], "something in flight")
        with locked(ours):
            assert workers.end("w1") == 0
            spilled = list((ours.folder / "dispatcher.db.spill").glob("*.json"))
            assert spilled, ours.said("w1")[-2000:]
        ours.provider.clear_faults()
        finding = next(f for f in doctor(ours) if "answers wait" in f["what"])
        assert not finding["ok"]
        workers.start("w1")
        assert_nobody_twice_or_in_doubt(campaign, 60)
        assert not list((ours.folder / "dispatcher.db.spill").iterdir())


def let_pass(seconds: float) -> None:
    """Nothing waits the length of an outage."""
    threading.Event().wait(seconds)


def doctor(ours: Stage) -> list[dict[str, object]]:
    import json

    found: list[dict[str, object]] = json.loads(ours.run("doctor", "--json").out)
    return found


@pytest.mark.postgres
def test_a_postgresql_that_is_gone_for_longer_than_a_lease_costs_time_only(
    postgres_server, postgres_url
):
    name = postgres_url.partition("@/")[2].partition("?")[0]
    with scene(store_url=postgres_url) as (ours, workers):
        ours.provider.fault("slow", on="submit", params={"ms": 500})
        workers.start("w1")
        campaign = ours.submit(ours.people(300, first=919855000000))
        wait_for(lambda: campaign.view.batches["submitting"], "something in flight")
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            postgres_server.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            let_pass(max(7.0, OUTAGE_S))
        finally:
            postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        ours.store.close()
        assert_nobody_twice_or_in_doubt(campaign, 300)
        assert "Traceback" not in ours.said("w1")


# --- A process that is stopped ----------------------------------------------------------------


class Doorkeeper:
    """A port whose callers wait in the street until `open`: connecting takes as long."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(0)
        # They fill the queue, so that the kernel drops every further SYN.
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(self._socket.getsockname())
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{self._target.path}"

    def open(self) -> None:
        """Let everybody in, from now on."""
        for filler in self._fillers:
            filler.close()
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        """Hand one caller after another through to the provider; ours keep their connection."""
        with suppress(OSError):
            while True:
                caller, _ = self._socket.accept()
                server = socket.create_connection((self._target.hostname, self._target.port))
                with caller, server:
                    self._hand_through(caller, server)

    @staticmethod
    def _hand_through(caller: socket.socket, server: socket.socket) -> None:
        other = {caller: server, server: caller}
        while True:
            for end in select.select([caller, server], [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                other[end].sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for filler in self._fillers:
            filler.close()
        if self._thread is not None:
            self._thread.join(10)


def test_a_stopped_worker_wakes_what_never_left_goes_back_and_what_was_answered_is_settled():
    accounts = {"main": PACED["main"], "other": PACED["main"]}
    with ExitStack() as stack:
        ours, workers = stack.enter_context(scene(accounts=accounts))
        door = Doorkeeper(ours.provider.base_url())
        stack.callback(door.close)
        # The second account's.
        text, url = ours.config.read_text(encoding="utf-8"), ours.provider.base_url()
        before, _, after = text.rpartition(url)
        never_left = ours.submit(ours.people(20, first=919857000000), account="other")
        answered = ours.submit(ours.people(20, first=919856000000, name="more.csv"))
        ours.config.write_text(before + door.url + after, encoding="utf-8")
        ours.provider.fault("slow", on="submit", count=1, params={"ms": 700})
        workers.start("w1")
        wait_for(lambda: attempts(ours) == 2, "both attempt rows")
        wait_for(lambda: ours.provider.stats()["faults"].get("slow"), "the second one's arrival")
        os.kill(workers.pid("w1"), signal.SIGSTOP)
        began = time.monotonic()
        workers.start("w2")
        for campaign in (never_left, answered):
            campaign.wait_until(lambda view: view.counts["in_doubt"] == 20, "the lease's end")
        # The first byte may leave for 1 s, and for the 10 s that a connection may take.
        let_pass(began + 12 - time.monotonic())
        workers.end("w2")
        door.open()
        os.kill(workers.pid("w1"), signal.SIGCONT)
        for campaign in (never_left, answered):
            counts = campaign.wait_until(is_settled, "its settlement").counts
            assert (counts["total"], counts["failed"]) == (20, 0)
        stats = ours.provider.stats()
        assert (stats["accepted"], stats["doubles"]) == (40, 0)
