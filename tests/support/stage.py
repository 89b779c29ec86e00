"""A stage: configuration, broker, provider and store in one folder, with real Celery processes.

What happened is asked of the provider's ledger and of the store, not of the test's own clock.
"""

import csv
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from dispatcher.campaigns.view import CampaignView, load_view
from dispatcher.local import children
from dispatcher.local.broker import EmbeddedBroker, redis_client
from dispatcher.store import campaigns
from dispatcher.store.engine import Store
from tests.support import warm
from tests.support.cli import Ended, clean_environment, dispatcher
from tests.support.folders import FOLDER
from tests.support.guarded_store import prepare_store
from tests.support.simulator import SimulatorProcess

if TYPE_CHECKING:
    import subprocess

    from tests.support.warm import Warm

KEY = "the-key-of-this-stage"
#: What every account has unless the stage says otherwise: receipts are asked for soon.
ACCOUNT: dict[str, Any] = {
    "provider": "thesmspoint",
    "api_key": KEY,
    "sender": "SENDER",
    "template": "TEMPLATE",
    "country": "IN",
    "timeout_s": 20,
    "poll_first_s": 0.5,
    "poll_max_s": 1,
    "validity_hours": 0.01,
}
#: Every message gets a receipt within a third of a second, at a hundredfold speed.
FATES = ("--delivered", "0.95", "--undelivered", "0.05", "--expired", "0")
_LOGGED_LINES = 30
#: Seconds between two looks at what is waited for; and how much longer than a look they are.
_LOOK_S, _LOOK_SHARE = (0.03, 0.3), 9


def wait_for(condition: Callable[[], Any], what: str, *, within_s: float = 60) -> Any:
    """The first true value of `condition`. A failure that says `what` was waited for in vain."""
    deadline = time.monotonic() + within_s
    shortest, longest = _LOOK_S
    while (began := time.monotonic()) < deadline:
        if found := condition():
            return found
        # Looking, too, takes the time of the processes that are waited for.
        took = time.monotonic() - began
        time.sleep(min(max(shortest, _LOOK_SHARE * took), longest))
    pytest.fail(f"waited {within_s:.0f} s in vain for {what}")


def fetched(url: str) -> str:
    """The body; empty while nobody listens."""
    try:
        with urlopen(url, timeout=10) as response:
            body: str = response.read().decode()
    except OSError:
        return ""
    return body


class Stage:
    """Use `stage()`; the simulator, the store and the broker run, Celery processes when started."""

    def __init__(
        self,
        folder: Path,
        *,
        provider: SimulatorProcess,
        accounts: Mapping[str, Mapping[str, Any]],
        worker: Mapping[str, Any],
        store_url: str | None,
        broker: EmbeddedBroker | None,
        command: Callable[..., Ended] = dispatcher,
        is_guarded: bool = True,
        has_tables: bool = True,
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.broker = broker
        self._command = command
        self.store = Store(store_url or f"sqlite:///{folder / 'dispatcher.db'}")
        #: Where `dispatcher up` keeps its broker: in our folder, not in the user's.
        self.env = {"DISPATCHER_CONFIG": str(self.config), "XDG_RUNTIME_DIR": str(folder)}
        self._processes: dict[str, Warm | subprocess.Popen[bytes]] = {}
        tables: dict[str, Mapping[str, Any]] = {
            "worker": worker,
            **{
                f"accounts.{name}": {
                    **ACCOUNT,
                    "base_url": provider.base_url(given.get("provider", "thesmspoint")),
                    **given,
                }
                for name, given in accounts.items()
            },
        }
        if store_url is not None:
            tables["store"] = {"url": store_url}
        if broker is not None:
            tables["broker"] = {"url": broker.url}
        lines = [
            f"[{name}]\n"
            + "".join(
                f"{key} = {json.dumps(value)}\n"
                for key, value in table.items()
                if value is not None
            )
            for name, table in tables.items()
        ]
        self.config.touch(mode=0o600)
        self.config.write_text("".join(lines), encoding="utf-8")
        url = self.store.url.render_as_string(hide_password=False)
        prepare_store(url, has_tables=has_tables, is_guarded=is_guarded)

    @property
    def config(self) -> Path:
        return self.folder / "dispatcher.toml"

    def run(self, *args: str, env: Mapping[str, str] | None = None) -> Ended:
        """`dispatcher ARGS` in the stage's folder."""
        return self._command(*args, folder=self.folder, env={**self.env, **(env or {})})

    def json(self, *args: str) -> Any:
        """What `dispatcher ARGS --json` printed; it must have ended with 0."""
        ended = self.run(*args, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    def submit(self, people: Path, *options: str, account: str = "main") -> "Campaign":
        """Submit `people`; the campaign. The text, where none is given, is one for everybody."""
        if not {"--text", "--text-file"} & {*options}:
            options = (*options, "--text", "Your order is ready.")
        made = self.json("campaign", "submit", str(people), "--account", account, *options)
        return Campaign(self, made["id"])

    def people(self, count: int, *, first: int, name: str = "people.csv") -> Path:
        """A file of `count` recipients, from the number `first` on."""
        path = self.folder / name
        rows = [f"{number},Name {number % 997}" for number in range(first, first + count)]
        path.write_text("\n".join(["phone,name", *rows]), encoding="utf-8")
        return path

    def celery(
        self,
        role: str,
        *options: str,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        root: Path | None = None,
    ) -> None:
        """Start `celery -A workers ROLE`; what it says goes to NAME.log, by default ROLE.log.

        `root`: the folder of another version of this repository, whose program is started.
        """
        argv = ["-q", "-A", "workers", role, *options]
        given = clean_environment(self.folder) | self.env | dict(env or {})
        log = self.log(name or role)
        if root is None:
            self._processes[name or role] = warm.spawn(
                "celery", argv, folder=self.folder, env=given, out=log
            )
            return
        with log.open("ab") as out:
            self._processes[name or role] = children.spawn_child(
                ["env", "-C", self.folder, sys.executable, "-m", "celery", *argv],
                output=out,
                env=given | {"PYTHONPATH": str(root)},
            )

    def start_command(self, name: str, *args: str, env: Mapping[str, str] | None = None) -> None:
        """Start `dispatcher ARGS`, which goes on until it is stopped; what it says: NAME.log."""
        self._processes[name] = warm.spawn(
            "dispatcher",
            args,
            folder=self.folder,
            env=clean_environment(self.folder) | self.env | dict(env or {}),
            out=self.log(name),
        )

    def start_worker(
        self,
        level: str = "info",
        *,
        name: str = "worker",
        env: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        """Start a worker, and wait until it takes tasks."""
        before = self.said(name).count(" ready.")
        options = ["-l", level, "--without-mingle", "--without-gossip", "-n", f"{name}@%h"]
        self.celery("worker", *options, name=name, env=env, root=root)

        def is_ready() -> bool:
            ended = self._processes[name].poll()
            assert ended is None, f"the worker ended with {ended}: {self.said(name)}"
            return self.said(name).count(" ready.") > before

        wait_for(is_ready, f"the process {name}")

    def start(self, level: str = "info") -> None:
        """Start beat and a worker."""
        self.celery("beat", "-l", level, "--pidfile=")
        self.start_worker(level)

    def pid(self, role: str) -> int:
        return self._processes[role].pid

    def kill(self, role: str) -> None:
        """`kill -9`, and wait."""
        children.kill_child(self._processes.pop(role))

    def stop(self, role: str, *, within_s: float = 30) -> int:
        """End a process as its supervisor would; its exit code."""
        process = self._processes.pop(role)
        children.end_child(process, within_s)
        return process.returncode

    def log(self, role: str) -> Path:
        return self.folder / f"{role}.log"

    def said(self, role: str) -> str:
        """What a process has logged so far."""
        return self.log(role).read_text(errors="replace") if self.log(role).exists() else ""

    def flush_broker(self) -> None:
        """FLUSHALL."""
        assert self.broker is not None
        with redis_client(self.broker.url) as client:
            client.flushall()

    def close(self) -> None:
        for process in self._processes.values():
            children.kill_child(process)
        self.store.close()


class Campaign:
    """One campaign of a stage."""

    def __init__(self, stage: Stage, campaign_id: int) -> None:
        self.stage = stage
        self.id = campaign_id

    @property
    def view(self) -> CampaignView:
        """The campaign as the store has it, without a command's start-up time."""
        return load_view(self.stage.store, str(self.id))

    @property
    def counts(self) -> dict[str, int]:
        return self.view.counts

    def command(self, action: str, *options: str) -> dict[str, Any]:
        """`dispatcher campaign ACTION ID --json`."""
        answer: dict[str, Any] = self.stage.json("campaign", action, str(self.id), *options)
        return answer

    def wait_until(
        self, condition: Callable[[CampaignView], Any], what: str, *, within_s: float = 60
    ) -> CampaignView:
        """The first view for which `condition` holds."""

        def holds() -> CampaignView | None:
            view = self.view
            return view if condition(view) else None

        found: CampaignView = self._wait_for(holds, what, within_s)
        return found

    def wait_until_over(self, *, within_s: float = 60) -> CampaignView:
        """Its last view."""

        def is_over() -> bool:
            # A view takes thirty times as long.
            with self.stage.store.read() as conn:
                row = campaigns.load_campaign(conn, self.id)
            assert row is not None
            return row.finished_at is not None

        self._wait_for(is_over, "the campaign's end", within_s)
        return self.view

    def _wait_for(self, condition: Callable[[], Any], what: str, within_s: float) -> Any:
        """As `wait_for`; a failure shows the campaign, and what the worker said last."""
        try:
            return wait_for(condition, what, within_s=within_s)
        except pytest.fail.Exception as failure:
            tail = "\n".join(self.stage.said("worker").splitlines()[-_LOGGED_LINES:])
            pytest.fail(f"{failure}; {self.view}\nthe worker said:\n{tail}")

    def export(self) -> list[dict[str, str]]:
        """The rows of `dispatcher campaign export`."""
        ended = self.stage.run("campaign", "export", str(self.id))
        assert ended.code == 0, ended.err
        return list(csv.DictReader(io.StringIO(ended.out)))


@contextmanager
def stage(
    *,
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
    worker: Mapping[str, Any] | None = None,
    store_url: str | None = None,
    own_broker: bool = False,
    simulator: Sequence[str] = (),
    scale: float = 100,
    command: Callable[..., Ended] = dispatcher,
    is_guarded: bool = True,
    has_tables: bool = True,
) -> Iterator[Stage]:
    """A stage; everything of it ends with the block.

    With `own_broker` none is started: `dispatcher up` brings its own. `simulator` are options of
    the simulator; by default every message gets a receipt, within a third of a second. The guard of
    the transition tables costs time: a benchmark goes without it.
    """
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="stage-", dir=FOLDER))
        broker = None
        if not own_broker:
            broker = stack.enter_context(EmbeddedBroker(Path(name, "broker", "broker.sock")))
        provider = SimulatorProcess(seed=11, scale=scale, options=simulator or FATES)
        stack.enter_context(provider)
        ours = Stage(
            Path(name),
            provider=provider,
            accounts=accounts or {"main": {}},
            worker={"lease_s": 5, "requeue_after_s": 1, **(worker or {})},
            store_url=store_url,
            broker=broker,
            command=command,
            is_guarded=is_guarded,
            has_tables=has_tables,
        )
        stack.callback(ours.close)
        yield ours


_ACCEPTED = {"submitted", "delivered", "undelivered", "expired"}


def disagreements(
    exported: Iterable[Mapping[str, str]],
    ledger: Iterable[Mapping[str, Any]],
    text_of: Callable[[Mapping[str, str]], str],
) -> list[str]:
    """Where an export and the provider's ledger of the same campaign differ; empty where nowhere.

    A number was accepted at most once; exactly once, with the text that `text_of` its row says,
    and with these provider ids, where its row says submitted or later; not at all where the row
    says anything else than in doubt.
    """
    rows = {row["msisdn"]: row for row in exported if row["seq"]}
    seen: dict[str, Mapping[str, Any]] = {}
    found = []
    for entry in ledger:
        number = entry["number"]
        if number in seen:
            found.append(f"{number} was accepted twice")
        seen[number] = entry
        row = rows.get(number)
        if row is None:
            found.append(f"{number} was accepted, but has no row")
            continue
        if row["state"] not in _ACCEPTED | {"in_doubt"}:
            found.append(f"{number} was accepted, but is {row['state']}")
        if entry["text"] != text_of(row):
            found.append(f"{number} got another text than its row renders to")
        if row["state"] in _ACCEPTED and (row["provider_message_id"], row["job_id"]) != (
            entry["message_id"], entry.get("job_id", ""),
        ):  # fmt: skip
            found.append(f"{number} has other ids than the provider gave")
    found += [
        f"{number} is {row['state']}, but was never accepted"
        for number, row in rows.items()
        if row["state"] in _ACCEPTED and number not in seen
    ]
    return found
