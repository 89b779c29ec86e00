"""`python -m tests.restarts`: every process is restarted in any order while 100,000 are texted.

As in a rolling deployment, over and over: two workers, beat, Flower, metrics and the broker, one
after the other as a seed draws them. Each gets SIGTERM, ends by itself, and is started again. The
provider's ledger is compared with the export: nobody twice, nobody lost, nobody in doubt, and no
lease ran out.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from dispatcher.store.corrections import load_corrections
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import Campaign, Stage, disagreements, stage, wait_for

_FIRST = 919_860_000_000
_TEXT = "Your order is ready."
_WORKERS = ("worker1", "worker2")
_ROLES = (*_WORKERS, "beat", "flower", "metrics", "broker")
#: Longer than a worker's requests take: it ends by itself.
_STOP_S = 60
_PATIENCE_S = 300
_ACCOUNT = {"max_recipients": 500, "max_in_flight": 8, "poll_first_s": 2, "poll_max_s": 5}


class Deployment:
    """All processes of a stage, and how often each was restarted."""

    def __init__(self, ours: Stage) -> None:
        self._ours = ours
        self._starts: dict[str, Callable[[], None]] = {
            "beat": lambda: ours.celery("beat", "--pidfile="),
            "flower": lambda: ours.celery("flower", "--port=0", "--address=127.0.0.1"),
            "metrics": lambda: ours.start_command("metrics", "metrics", "--port", "0"),
        }
        self.restarts = Counter[str]()
        self.wrong: list[str] = []

    def start(self, name: str) -> None:
        """Start one; of a worker, wait until it takes tasks."""
        if name == "broker":
            assert self._ours.broker is not None
            if not self._ours.broker.is_alive():
                self._ours.broker.start()
        elif name in _WORKERS:
            home = self._ours.folder / name
            home.mkdir(exist_ok=True)
            self._ours.start_worker(name=name, env={"XDG_STATE_HOME": str(home)})
        else:
            self._starts[name]()

    def restart(self, name: str) -> None:
        """SIGTERM, the end, and a start. That it does not end by itself is wrong."""
        if name == "broker":
            assert self._ours.broker is not None
            self._ours.broker.stop()
        elif (code := self._ours.stop(name, within_s=_STOP_S)) and name != "flower":
            self.wrong.append(f"{name} ended with {code}: {self._ours.said(name)[-1000:]}")
        self.start(name)
        self.restarts[name] += 1


def run_restarts(count: int, rate: int, store: str, seed: int) -> list[str]:
    """What was found wrong, which should be nothing."""
    with ExitStack() as stack:
        url = None
        if store == "postgres":
            server = stack.enter_context(running_server(DURABLE))
            url = stack.enter_context(server.database())
        account = _ACCOUNT | {"messages_per_second": rate}
        ours = stack.enter_context(
            stage(accounts={"main": account}, store_url=url, is_guarded=False)
        )
        deployment = Deployment(ours)
        for name in _ROLES:
            deployment.start(name)
        campaign = ours.submit(ours.people(count, first=_FIRST), "--text", _TEXT)
        campaign.wait_until(lambda view: view.total_submitted, "the first", within_s=_PATIENCE_S)
        began = time.monotonic()
        _restart_in_any_order(deployment, campaign, random.Random(seed))
        took = time.monotonic() - began
        wait_for(lambda: campaign.view.is_over, "the end", within_s=_PATIENCE_S)
        restarts = ", ".join(f"{name} {n}" for name, n in sorted(deployment.restarts.items()))
        print(
            f"{count} recipients at {rate}/s ({count / rate:.0f} s undisturbed), {store}, seed "
            f"{seed}: {took:.0f} s; restarts: {restarts}"
        )
        wrong = deployment.wrong + _judge(ours, campaign, count)
        wrong += [f"{name} was never restarted" for name in _ROLES if not deployment.restarts[name]]
        return wrong


def _restart_in_any_order(deployment: Deployment, campaign: Campaign, draw: random.Random) -> None:
    """One process after the other, in rounds of all of them, until nobody is pending."""
    while True:
        for name in draw.sample(_ROLES, len(_ROLES)):
            deployment.restart(name)
            before = (view := campaign.view).total_submitted
            if not view.counts["pending"]:
                return
            # The next one only once it goes on: a deployment looks, too.
            campaign.wait_until(
                lambda view, before=before: (
                    view.total_submitted > before or not view.counts["pending"]
                ),
                f"sending to go on after a restart of {name}",
                within_s=_PATIENCE_S,
            )


def _judge(ours: Stage, campaign: Campaign, count: int) -> list[str]:
    wrong = disagreements(campaign.export(), ours.provider.ledger(), lambda _row: _TEXT)
    counts = campaign.counts
    if campaign.view.total_submitted != count or counts["in_doubt"]:
        wrong.append(f"not everybody was submitted: {counts}")
    with ours.store.read() as conn:
        lost = {what: n for what, n in load_corrections(conn).items() if n and "lease" in what}
    if lost:
        wrong.append(f"leases ran out: {lost}")
    return wrong


def main(given: Sequence[str] | None = None) -> int:
    """Run it; 1 if somebody was texted twice, lost or in doubt."""
    parser = argparse.ArgumentParser(prog="python -m tests.restarts", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=1500)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, help="default: drawn, and printed")
    options = parser.parse_args(given)
    seed = random.randrange(100_000) if options.seed is None else options.seed
    wrong = run_restarts(options.count, options.rate, options.store, seed)
    print("\n".join(wrong[:20]) or "nobody twice, nobody lost, nobody in doubt")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
