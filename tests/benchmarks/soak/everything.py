"""Every process that production has, under a steady load, and what each of them holds."""

import json
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from typing import Any, Final
from urllib.request import urlopen

import psutil
from sqlalchemy import text

from dispatcher.local.broker import redis_client
from dispatcher.receiver.access import PUSH_PATH, digest_token, make_token
from dispatcher.store import push_counts
from dispatcher.store.engine import store_now
from dispatcher.store.push_urls import add_push_url
from tests.benchmarks.bulk import lean_provider
from tests.benchmarks.soak.callers import FlowerReader, Pushes, Scrapes, ask
from tests.benchmarks.soak.feeder import Feeder
from tests.benchmarks.soak.growth import TOGETHER, Sample
from tests.support.cli import ROOT, dispatcher
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import FATES, Stage, stage, wait_for
from tests.support.webhook import Receiver, receiver

_FIRST: Final = 919_000_000_000
_FIRST_PUSHED: Final = 12_815_500_000
#: Recipients a second of the account whose receipts are pushed.
_PUSHED_RATE: Final = 30
#: Once the load has ended: to the last receipt.
_END_S: Final = 180
_TABLES_SIZE: Final = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
_CONNECTIONS: Final = (
    "SELECT application_name, count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() GROUP BY 1"
)
#: Flower's own limit, 20,000 tasks, is not reached within an hour of this load.
_TASKS_A_SECOND: Final = 0.5
_PUSHING: Final[dict[str, Any]] = {
    "provider": "voip_communications", "api_password": "any", "sender": None, "template": None,
    "country": "US", "poll_first_s": 3600, "poll_max_s": 3600, "validity_hours": 2,
    "messages_per_second": _PUSHED_RATE,
}  # fmt: skip


class Everything:
    """The processes, who calls them, and who submits; use `everything()`."""

    def __init__(
        self,
        ours: Stage,
        base: str,
        names: Sequence[str],
        feeders: tuple[Feeder, Feeder],
        callers: tuple[Pushes, Scrapes, FlowerReader],
        hook: Receiver,
    ) -> None:
        self._ours, self._base, self._hook = ours, base, hook
        self._main, self._pushing = feeders
        self._callers = callers
        self._processes = {name: psutil.Process(ours.pid(name)) for name in names}
        assert ours.broker is not None
        self._processes["broker"] = psutil.Process(ours.broker.pid)
        self._began = time.monotonic()

    def start(self) -> None:
        """Begin to submit and to call; the time is counted from the first acceptance."""
        for each in (self._main, self._pushing, *self._callers):
            each.start()
        wait_for(lambda: _stats(self._base)["accepted"], "the first acceptance")
        self._began = time.monotonic()

    def stop(self) -> None:
        """Submit and call no more."""
        for each in (self._main, self._pushing, *self._callers):
            each.stop()

    def take_sample(self) -> Sample:
        """What every process holds now."""
        figures = dict(self._count_connections())
        for name, process in self._processes.items():
            try:
                figures[name, "files"] = process.num_fds()
                figures[name, "MiB"] = process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                raise SystemExit(f"{name} has ended: {self._ours.said(name)[-1000:]}") from None
        accepted = int(_stats(self._base)["accepted"])
        figures |= {(TOGETHER, name): value for name, value in self._look_at_load(accepted)}
        # In the order of the processes, whatever was asked first.
        whose = [*self._processes, TOGETHER]
        return Sample(
            at_s=time.monotonic() - self._began,
            accepted=accepted,
            figures=dict(sorted(figures.items(), key=lambda one: whose.index(one[0][0]))),
        )

    def _count_connections(self) -> Iterator[tuple[tuple[str, str], float]]:
        with self._ours.store.read() as conn:
            found = {name: int(n) for name, n in conn.execute(text(_CONNECTIONS))}
        for name in self._processes:
            yield (name, "connections"), found.get(name, 0)
        yield (TOGETHER, "connections"), sum(found.values())
        assert self._ours.broker is not None
        with redis_client(self._ours.broker.url) as client:
            yield ("broker", "connections"), len(client.client_list())

    def _look_at_load(self, accepted: int) -> Iterator[tuple[str, float]]:
        imported = max(1, self._main.imported + self._pushing.imported)
        with self._ours.store.read() as conn:
            yield "bytes a recipient", int(conn.execute(text(_TABLES_SIZE)).scalar_one()) / imported
        folder = self._ours.folder
        logs = sum(path.stat().st_size for path in folder.glob("*.log"))
        yield "log bytes a recipient", logs / max(1, accepted)
        kept = [*folder.glob("*/state/**/*"), *folder.glob("celerybeat-schedule*")]
        yield "state KiB", sum(path.stat().st_size for path in kept if path.is_file()) / 1024
        yield "s a campaign", self._main.campaign_s
        yield "s a pushed campaign", self._pushing.campaign_s
        yield "s a scrape", self._callers[1].scrape_s

    def finish(self) -> list[str]:
        """Wait for the last receipt; what went wrong, which should be nothing."""
        wrong = self._main.finish(_END_S) + self._pushing.finish(_END_S)
        self.stop()
        for each in self._callers:
            wrong += each.wrong
            print(f"{type(each).__name__}: {_in_words(each.calls)}")
        if doubles := _stats(self._base)["doubles"]:
            wrong.append(f"{doubles} recipients were submitted twice")
        with self._ours.store.read() as conn:
            counted = {
                row.outcome: row.n
                for row in push_counts.load_push_counts(conn)
                if row.account == "pushing"
            }
        print(f"pushes in the store: {_in_words(counted)}")
        pushed = self._pushing.finished * self._pushing.each
        if counted.get("receipt") != pushed:
            wrong.append(f"{counted.get('receipt')} receipts of {pushed} were stored from pushes")
        kinds = {json.loads(body)["event"] for _, body in self._hook.got}
        print(f"{len(self._hook.got)} notices: {', '.join(sorted(kinds))}")
        if "campaign_finished" not in kinds:
            wrong.append("nobody was notified of a campaign's end")
        for name in self._processes:
            wrong += _find_other_lines(self._ours, name)
        return wrong


@contextmanager
def everything(*, seconds: float, rate: int, workers: int) -> Iterator[Everything]:
    """Start it all; everything ends with the block."""
    receiver_port, metrics_port, flower_port = _free_port(), _free_port(), _free_port()
    names = ["worker", *(f"worker{n}" for n in range(2, workers + 1))]
    ports = {"metrics": metrics_port} | {name: _free_port() for name in names}
    path = f"{PUSH_PATH}pushing/{(token := make_token())}"
    push_to = ("--push-to", f"http://127.0.0.1:{receiver_port}{path}")
    with (
        lean_provider(1.0) as base,
        running_server(DURABLE) as server,
        server.database() as url,
        receiver() as hook,
        stage(
            accounts={"main": _main_account(base, rate), "pushing": _PUSHING}, store_url=url,
            command=dispatcher, is_guarded=False, simulator=[*FATES, *push_to],
            worker={"lease_s": 25, "requeue_after_s": 25, "max_connections": 12},
        ) as ours,
    ):  # fmt: skip
        ours.env |= {
            "DISPATCHER_NOTIFY__URL": hook.url,
            "DISPATCHER_NOTIFY__SECRET": "0123456789abcdef-of-this-soak",
            "DISPATCHER_NOTIFY__BALANCE_BELOW": "1",
            "DISPATCHER_NOTIFY__BALANCE_EVERY_S": "60",
            "DISPATCHER_LOG__FORMAT": "json",
        }
        with ours.store.write() as conn:
            now = store_now(conn)
            add_push_url(conn, "pushing", digest_token(token), actor="test", now=now)
        ours.celery("beat", "-l", "info", "--pidfile=", env=_own(ours, "beat"))
        for name in names:
            port = {"DISPATCHER_WORKER__METRICS_PORT": str(ports[name])}
            ours.start_worker(name=name, env=_own(ours, name) | port)
        for name, port in (("receiver", receiver_port), ("metrics", metrics_port)):
            args = ("--host", "127.0.0.1", "--port", str(port))
            ours.start_command(name, name, *args, env=_own(ours, name))
        credentials = f"operator:{secrets.token_hex(12)}"
        _start_flower(ours, flower_port, credentials, most=max(20, int(seconds * _TASKS_A_SECOND)))
        for name, port in (("receiver", receiver_port), ("metrics", metrics_port)):
            wait_for(lambda port=port: _answers(port, "/healthz"), name)
        wait_for(lambda: _answers(flower_port, "/healthcheck"), "Flower")
        campaign_s = max(1, min(10, int(seconds / 10)))
        feeders = (
            Feeder(ours, "main", (rate, campaign_s), _FIRST, "Dear {{name}}, it is ready."),
            Feeder(ours, "pushing", (_PUSHED_RATE, campaign_s), _FIRST_PUSHED, "It is ready."),
        )
        callers = (
            Pushes(receiver_port, path),
            Scrapes(ports),
            FlowerReader(flower_port, credentials),
        )
        running = [*names, "beat", "flower", "metrics", "receiver"]
        found = Everything(ours, base, running, feeders, callers, hook)
        try:
            found.start()
            yield found
        finally:
            found.stop()


def _main_account(base: str, rate: int) -> dict[str, Any]:
    return {
        "base_url": base, "timeout_s": 30, "poll_first_s": 1, "poll_max_s": 5,
        "validity_hours": 1, "messages_per_second": rate,
    }  # fmt: skip


def _own(ours: Stage, name: str) -> dict[str, str]:
    """A state folder of its own, as on its own machine, and its name in PostgreSQL."""
    state = ours.folder / name / "state"
    state.mkdir(parents=True)
    return {"XDG_STATE_HOME": str(state), "PGAPPNAME": name}


def _start_flower(ours: Stage, port: int, credentials: str, *, most: int) -> None:
    """Its own configuration and a password from a file, as in Compose."""
    password = ours.folder / "flower_basic_auth"
    password.touch(mode=0o600)
    password.write_text(credentials + "\n", encoding="ascii")
    env = {
        "FLOWER_BASIC_AUTH_FILE": str(password),
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(port),
    }
    conf = ROOT / "deploy" / "flowerconfig.py"
    ours.celery("flower", f"--conf={conf}", f"--max-tasks={most}", env=_own(ours, "flower") | env)


def _find_other_lines(ours: Stage, name: str) -> list[str]:
    """Lines of a log that are no JSON, or that say that somebody must act."""
    if name == "broker":
        return []
    found = []
    # As root, Celery warns before it has read how lines are written.
    lines = dropwhile(lambda line: not line.startswith("{"), ours.said(name).splitlines())
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            found.append(f"{name} logged a line that is not JSON: {line[:200]}")
            continue
        if said["level"] in {"ERROR", "CRITICAL"}:
            found.append(f"{name}: {line[:300]}")
    return found[:5]


def _answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _stats(base: str) -> dict[str, Any]:
    with urlopen(f"{base}/stats") as answer:
        found: dict[str, Any] = json.load(answer)
    return found
