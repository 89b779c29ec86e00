"""One chaos run: set up, let killer and operator loose, let everything settle, judge."""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from dispatcher.errors import StoreError
from dispatcher.local.broker import EmbeddedBroker
from dispatcher.store.tables import AUDIT, CAMPAIGN
from tests.chaos import staging
from tests.chaos.commands import Operator
from tests.chaos.crew import WORKERS, Crew, crew
from tests.chaos.decisions import Decisions
from tests.chaos.figures import Figures, Plan
from tests.chaos.judge import (
    TIMEOUT_S,
    Blow,
    judge,
    kills_in_mid_request,
    read_holders,
    read_ledger,
    unfinished_but_over,
)
from tests.chaos.killer import Killer
from tests.chaos.rates import Meter, Stall, judge_rates
from tests.chaos.submitter import FIRST_NAME, FIRST_NUMBER, Submitter
from tests.support.folders import FOLDER
from tests.support.postgres_server import PostgresServer, running_server
from tests.support.simulator import SimulatorProcess
from tests.support.stage import FATES, KEY, Stage

PROVIDERS: Final = ("thesmspoint", "smsnoc")
STORES: Final = ("sqlite", "postgres")

#: Requests that an account may have in flight.
_SLOTS: Final = 40
#: Submissions and polls of one account together.
_REQUESTS_PER_SECOND: Final = 40.0
_ACCOUNT: Final[dict[str, Any]] = {
    "country": "IN", "timeout_s": TIMEOUT_S, "max_recipients": 50, "max_in_flight": _SLOTS,
    "requests_per_second": _REQUESTS_PER_SECOND, "fallback_after_s": 3,
    # So that some fail, for `retry`.
    "max_attempts": 2,
    "poll_first_s": 2, "poll_max_s": 5, "validity_hours": 0.01,
}  # fmt: skip
_ULTIMATE: Final = {"api_key": None, "api_token": KEY, "template": None}
_STAGING: Final[dict[str, Any]] = {
    "provider": staging.PROVIDER, "allow_only": staging.ALLOW_ONLY, **_ULTIMATE,
}  # fmt: skip
#: The account, its fallback, and the one with an allow-list. The fallback is another provider at
#: the same simulator, with a list as well, or without one as well. Each one's requests have paths
#: of their own, so that each rate can be judged.
_ACCOUNTS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "thesmspoint": {
        "main": {"provider": "thesmspoint"},
        "spare": {"provider": "aoc_portal", "template": None},
        staging.ACCOUNT: _STAGING,
    },
    "smsnoc": {
        "main": {"provider": "smsnoc", **_ULTIMATE},
        "spare": {"provider": "standingtech", **_ULTIMATE},
        staging.ACCOUNT: _STAGING,
    },
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
    "throttled": (0.015, {"retry_after": 1}),
    "some_refused": (0.10, {}),
    "reordered": (0.3, {}),
    "doubled": (0.1, {}),
    "missing": (0.05, {}),
}
#: Rarer where one doubt stops the account until its provider was looked at.
_SHARE_WITHOUT_LIST: Final = 0.25
_LATENCY_MS: Final = 150
#: Polls that are refused as too many, by the kind of call that they are.
_THROTTLED_POLLS: Final = {"status": 0.03, "lookup": 0.03}
_SETTLE_S: Final = 240.0
#: Between two strikes: a worker needs some seconds to be back.
_PAUSE_S: Final = (0.5, 3.5)


def run(plan: Plan) -> Figures:
    """Play a plan in a folder of its own, which is removed where nothing was violated."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=FOLDER))
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
            accounts={name: _ACCOUNT | given for name, given in _ACCOUNTS[plan.provider].items()},
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
    accounts, decisions = [*_ACCOUNTS[plan.provider]], Decisions()
    before = _first_messages(stage, accounts)
    _spoil(stage, has_list=has_list)
    killer = Killer(stage, ours, rng, postgres)
    seen: set[str] = set()
    until = time.monotonic() + plan.seconds
    own_rng = random.Random(f"{plan.seed} operator")
    with Meter(stage.provider) as meter:
        with (
            Submitter(stage, until, accounts[:2], decisions, plan.size) as submitter,
            Operator(stage, submitter, accounts, decisions, own_rng) as operator,
        ):
            while (now := time.monotonic()) < until:
                strike_at = now + rng.uniform(*_PAUSE_S)
                while time.monotonic() < strike_at:
                    ours.keep_up()
                    killer.keep_up()
                    time.sleep(0.05)
                killer.strike()
                with suppress(StoreError):
                    seen.update(unfinished_but_over(stage.store))
            killer.calm_down()
            ours.calm_down()
            submitter.finish()
            operator.calm_down()
        faults = stage.provider.stats()["faults"]
        stage.provider.clear_faults()
        began = time.monotonic()
        over = _settle(stage, ours, operator)
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
        decisions=decisions,
        slots=_SLOTS,
    )
    wrong = figures.findings.violations
    wrong += [f"during the run: {sentence}" for sentence in sorted(seen)]
    wrong += operator.violations
    if not over:
        wrong.append(f"not everything had settled in {_SETTLE_S:.0f} s")
    exceeded, figures.busiest = judge_rates(
        meter.arrivals,
        {given["provider"]: _REQUESTS_PER_SECOND
         for given in _ACCOUNTS[plan.provider].values()},
        lags=meter.lags,
        blows=[_stall(blow) for blow in killer.blows],
    )  # fmt: skip
    wrong += exceeded
    figures.requests = sum(map(len, meter.arrivals.values()))
    figures.kills = killer.kills
    figures.kills_in_mid_request = kills_in_mid_request(stage.store, killer.blows, holders)
    figures.faults = {name: n for name, n in faults.items() if name != "slow"}
    figures.moves = _count_moves(stage)
    figures.events = dict(killer.events)
    figures.own_exits = dict(ours.own_exits)
    figures.commands = dict(operator.events)


def _count_moves(stage: Stage) -> int:
    query = sa.select(sa.func.count()).where(AUDIT.c.action == "campaign fallback")
    with stage.store.read() as conn:
        return int(conn.execute(query).scalar_one())


def _stall(blow: Blow) -> Stall:
    began = blow.at.timestamp()
    return Stall(began, began + blow.seconds)


def _first_messages(stage: Stage, accounts: Sequence[str]) -> int:
    """One message of each account that is answered in peace; how many recipients that are.

    A look at a list that shows nothing older than a doubt proves nobody absent.
    """
    for back, account in enumerate(accounts, start=1):
        first = staging.FIRST_NUMBER if account == staging.ACCOUNT else FIRST_NUMBER - back
        people = stage.people(1, first=first, name=f"{FIRST_NAME}{account}.csv")
        campaign = stage.submit(people, account=account)
        campaign.wait_until(lambda view: view.total_submitted == 1, "the first message")
    return len(accounts)


def _spoil(stage: Stage, *, has_list: bool) -> None:
    stage.provider.fault("slow", on="submit", params={"ms": _LATENCY_MS})
    share = 1.0 if has_list else _SHARE_WITHOUT_LIST
    for name, (rate, params) in _DOUBTFUL.items():
        stage.provider.fault(name, on="submit", rate=rate * share, params=params)
    for name, (rate, params) in _CLEAR.items():
        stage.provider.fault(name, on="submit", rate=rate, params=params)
    for kind, rate in _THROTTLED_POLLS.items():
        stage.provider.fault("throttled", on=kind, rate=rate, params={"retry_after": 1})


def _settle(stage: Stage, ours: Crew, operator: Operator) -> bool:
    """Wait until nothing changes by itself any more; False where that takes too long."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        ours.keep_up()
        with suppress(StoreError):
            operator.cancel_stranded()
        with suppress(StoreError), stage.store.read() as conn:
            query = sa.select(sa.func.count()).where(CAMPAIGN.c.finished_at.is_(None))
            if conn.execute(query).scalar_one() == 0:
                return True
        time.sleep(0.3)
    return False
