"""One chaos run: set up, let the killer loose, let everything settle, judge."""

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from dispatcher.errors import StoreError
from dispatcher.local.broker import EmbeddedBroker
from dispatcher.status import BatchState
from dispatcher.store.tables import BATCH, CAMPAIGN
from tests.chaos.crew import WORKERS, Crew, crew
from tests.chaos.judge import Findings, judge, kills_in_mid_request, read_holders, read_ledger
from tests.chaos.killer import Killer
from tests.support.postgres_server import PostgresServer, running_server
from tests.support.simulator import SimulatorProcess
from tests.support.stage import FATES, KEY, Stage

PROVIDERS: Final = ("thesmspoint", "smsnoc")
STORES: Final = ("sqlite", "postgres")

_ACCOUNT: Final[dict[str, Any]] = {
    "country": "IN", "timeout_s": 5, "max_recipients": 20, "max_in_flight": 40,
    "poll_first_s": 2, "poll_max_s": 5, "validity_hours": 0.01,
}  # fmt: skip
_ACCOUNTS: Final[dict[str, dict[str, Any]]] = {
    "thesmspoint": {"provider": "thesmspoint", "api_key": KEY},
    "smsnoc": {"provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None},
}
_WORKER: Final = {
    "lease_s": 5, "requeue_after_s": 2, "reconcile_after_s": 0.5, "stall_after_s": 10,
}  # fmt: skip
#: A hang beyond the time-out: the client has gone, and the server goes on.
_HANG: Final = {"seconds": 6}
#: Faults that leave a request in doubt, by rate; a provider without a list opens its breaker at
#: each, so that it meets fewer.
_DOUBTFUL: Final[dict[str, tuple[float, dict[str, Any]]]] = {
    "reset_after": (0.04, {}),
    "eof_after": (0.03, {}),
    "error_after": (0.03, {}),
    "html_after": (0.02, {}),
    "truncated": (0.03, {}),
    "hang_after": (0.015, _HANG),
    "hang_before": (0.015, _HANG),
    "reset_before": (0.03, {}),
}
_CLEAR: Final[dict[str, tuple[float, dict[str, Any]]]] = {
    "throttled": (0.03, {"retry_after": 1}),
    "some_refused": (0.10, {}),
    "reordered": (0.15, {}),
    "doubled": (0.05, {}),
    "missing": (0.05, {}),
}
#: Rarer where one doubt stops the account until its provider was looked at.
_SHARE_WITHOUT_LIST: Final = 0.25
_LATENCY_MS: Final = 150
#: Recipients of one campaign, and batches that wait when the next is submitted.
_CAMPAIGN_SIZE: Final = 2000
_LOW_WATER: Final = 60
_FIRST_NUMBER: Final = 919_810_000_000
#: Every so many campaigns, what stays in doubt is submitted again by the campaign's own rule.
_RESEND_EVERY: Final = 4
_SETTLE_S: Final = 240.0
#: Between two strikes: a worker needs some seconds to be back.
_PAUSE_S: Final = (0.5, 3.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: `seconds` of chaos over a store and a provider, drawn from `seed`."""

    seconds: float
    store: str
    provider: str
    seed: int


@dataclass
class Figures:
    """What came of a run. `folder` is kept where something was violated."""

    plan: Plan
    findings: Findings = field(default_factory=Findings)
    kills: int = 0
    kills_in_mid_request: int = 0
    faults: int = 0
    events: dict[str, int] = field(default_factory=dict)
    own_exits: dict[str, int] = field(default_factory=dict)
    settled_in_s: float = 0.0
    folder: Path | None = None

    def __str__(self) -> str:
        p, f = self.plan, self.findings
        return (
            f"{p.store} {p.provider} seed {p.seed}: {self.kills} kills, "
            f"{self.kills_in_mid_request} between attempt row and settlement, "
            f"{self.faults} faults, {f.recipients} recipients, {f.accepted} accepted, "
            f"{f.doubles} doubles, {f.lost} lost, {f.doubtful} doubtful, "
            f"{f.resent} twice by decision; settled in {self.settled_in_s:.0f} s"
        )


def run(plan: Plan) -> Figures:
    """Play a plan in a folder of its own, which is removed where nothing was violated."""
    # In /tmp, since the path of a socket is limited to about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    figures = Figures(plan)
    try:
        with _stage(plan, folder) as (stage, postgres), crew(stage) as ours:
            _play(figures, stage, ours, postgres, folder / "ledger.jsonl")
    except BaseException:
        figures.findings.violations.append("the run did not end")
        raise
    finally:
        if not figures.findings.violations:
            shutil.rmtree(folder)
        else:
            figures.folder = folder
            (folder / "violations.txt").write_text(
                "\n".join([str(figures), *figures.findings.violations, ""]), encoding="utf-8"
            )
    return figures


@contextmanager
def _stage(plan: Plan, folder: Path) -> Iterator[tuple[Stage, PostgresServer | None]]:
    with ExitStack() as stack:
        postgres, url = None, None
        if plan.store == "postgres":
            postgres = stack.enter_context(running_server())
            url = stack.enter_context(postgres.database())
        broker = stack.enter_context(EmbeddedBroker(folder / "broker" / "broker.sock"))
        provider = stack.enter_context(
            SimulatorProcess(
                seed=plan.seed, scale=100, ledger=folder / "ledger.jsonl", options=FATES
            )
        )
        stage = Stage(
            folder,
            provider=provider,
            accounts={"main": _ACCOUNT | _ACCOUNTS[plan.provider]},
            worker=_WORKER,
            store_url=url,
            broker=broker,
        )
        stack.callback(stage.close)
        yield stage, postgres


def _play(
    figures: Figures, stage: Stage, ours: Crew, postgres: PostgresServer | None, ledger: Path
) -> None:
    plan, rng = figures.plan, random.Random(figures.plan.seed)
    has_list = plan.provider == "smsnoc"
    before = _first_message(stage)
    _spoil(stage, has_list=has_list)
    killer = Killer(stage, ours, rng, postgres)
    until = time.monotonic() + plan.seconds
    with Submitter(stage, until) as submitter:
        while (now := time.monotonic()) < until:
            strike_at = now + rng.uniform(*_PAUSE_S)
            while time.monotonic() < strike_at:
                ours.keep_up()
                killer.keep_up()
                time.sleep(0.05)
            killer.strike()
        killer.calm_down()
        ours.calm_down()
    faults = stage.provider.stats()["faults"]
    stage.provider.clear_faults()
    began = time.monotonic()
    over = _settle(stage, ours)
    figures.settled_in_s = time.monotonic() - began
    holders = read_holders({name: stage.said(name) for name in WORKERS})
    figures.findings = judge(
        stage.store,
        read_ledger(ledger),
        submitted=before + submitter.recipients,
        blows=killer.blows,
        holders=holders,
        faults=faults,
        has_list=has_list,
    )
    if not over:
        figures.findings.violations.append(f"not everything had settled in {_SETTLE_S:.0f} s")
    figures.kills = killer.kills
    figures.kills_in_mid_request = kills_in_mid_request(stage.store, killer.blows, holders)
    figures.faults = sum(n for name, n in faults.items() if name != "slow")
    figures.events = dict(killer.events)
    figures.own_exits = dict(ours.own_exits)


def _first_message(stage: Stage) -> int:
    """One message that is answered in peace; how many recipients that are.

    A look at a list that shows nothing older than a doubt proves nobody absent.
    """
    people = stage.people(1, first=_FIRST_NUMBER - 1, name="first.csv")
    campaign = stage.submit(people)
    campaign.wait_until(lambda view: view.total_submitted == 1, "the first message")
    return 1


def _spoil(stage: Stage, *, has_list: bool) -> None:
    stage.provider.fault("slow", on="submit", params={"ms": _LATENCY_MS})
    share = 1.0 if has_list else _SHARE_WITHOUT_LIST
    for name, (rate, params) in _DOUBTFUL.items():
        stage.provider.fault(name, on="submit", rate=rate * share, params=params)
    for name, (rate, params) in _CLEAR.items():
        stage.provider.fault(name, on="submit", rate=rate, params=params)


def _settle(stage: Stage, ours: Crew) -> bool:
    """Wait until nothing changes by itself any more; False where that takes too long."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        ours.keep_up()
        with suppress(StoreError), stage.store.read() as conn:
            query = sa.select(sa.func.count()).where(CAMPAIGN.c.finished_at.is_(None))
            if conn.execute(query).scalar_one() == 0:
                return True
        time.sleep(0.3)
    return False


class Submitter:
    """Submits campaigns, one after another, so that there is always something to send."""

    def __init__(self, stage: Stage, until: float) -> None:
        self._stage = stage
        self._until = until
        self._campaigns = 0
        self._thread = threading.Thread(target=self._run, name="submitter")

    @property
    def recipients(self) -> int:
        """How many were submitted so far."""
        return self._campaigns * _CAMPAIGN_SIZE

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        while time.monotonic() < self._until or not self._campaigns:
            if self._waiting() < _LOW_WATER and self._submit():
                self._campaigns += 1
            time.sleep(0.2)

    def _waiting(self) -> int:
        with suppress(StoreError), self._stage.store.read() as conn:
            query = sa.select(sa.func.count()).where(BATCH.c.state == BatchState.PENDING)
            return int(conn.execute(query).scalar_one())
        return _LOW_WATER

    def _submit(self) -> bool:
        """Whether it was accepted. The key lets what failed half way be submitted again."""
        number = self._campaigns
        first = _FIRST_NUMBER + number * _CAMPAIGN_SIZE
        people = self._stage.people(_CAMPAIGN_SIZE, first=first, name=f"people-{number}.csv")
        rule = "resend" if number % _RESEND_EVERY == _RESEND_EVERY - 1 else "hold"
        ended = self._stage.run(
            "campaign", "submit", str(people), "--account", "main", "--on-doubt", rule,
            "--text", "Your order is ready.", "--idempotency-key", f"campaign {number}", "--json",
        )  # fmt: skip
        with self._stage.log("submitter").open("a", encoding="utf-8") as log:
            log.write(f"{number}: {ended.code} {ended.out}{ended.err}\n")
        return ended.code == 0
