"""`python -m tests.clocks`: workers and beat whose clocks are half a minute ahead and behind.

Over PostgreSQL, whose clock decides. One worker is 30 s ahead, the other one and beat 30 s behind
(by `support/shifted_clock.c`, which needs a C compiler; libfaketime breaks Python's sleep). Then,
by the provider's own clock: the rate holds, also when a worker gets `kill -9`; its batches are
taken from it after a lease, not sooner and not half a minute later; a campaign leaves inside its
window only; nobody is texted twice or lost.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from dispatcher.status import IN_FLIGHT
from dispatcher.store.corrections import load_corrections
from dispatcher.store.tables import BATCH
from tests.support.cli import ROOT
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import KEY, Stage, disagreements, stage, wait_for

_FIRST = 919_870_000_000
_TEXT = "Your order is ready."
_SOURCE = Path(__file__).parent / "support" / "shifted_clock.c"
_PATIENCE_S = 300
_RATE, _REQUEST = 100, 10
_LEASE_S = 5
#: In so many seconds at most so many may arrive: the rate, a request of each process and one at the
#: edge, and a second's worth that a busy machine was late with. A clock's error is 30 s' worth.
_SPAN_S, _MOST_IN_SPAN = 5.0, 5 * _RATE + 3 * _REQUEST + _RATE
#: A lease, the time until the tick after it, and what a busy machine needs.
_MOST_S = _LEASE_S + 12
#: What also a busy machine sends in the window's minute.
_LEAST_IN_WINDOW = 5 * _RATE
_ACCOUNT = {
    "provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None,
    "messages_per_second": _RATE, "max_recipients": _REQUEST, "max_in_flight": 8,
}  # fmt: skip
_AHEAD, _BEHIND = "worker1", "worker2"


def run_with_wrong_clocks(wrong_by_s: int) -> list[str]:
    """What was found wrong, which should be nothing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clocks-")))
        library = folder / "clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
        server = stack.enter_context(running_server(DURABLE))
        ours = stack.enter_context(
            stage(
                accounts={"main": _ACCOUNT},
                worker={"lease_s": _LEASE_S, "reconcile_after_s": 0.5},
                store_url=stack.enter_context(server.database()),
                is_guarded=False,
            )
        )
        behind, ahead = (
            {"LD_PRELOAD": str(library), "CLOCK_SHIFT_S": str(by)}
            for by in (-wrong_by_s, wrong_by_s)
        )
        ours.celery("beat", "-l", "info", "--pidfile=", env=behind, root=ROOT)
        ours.start_worker(name=_AHEAD, env=ahead, root=ROOT)
        ours.start_worker(name=_BEHIND, env=behind, root=ROOT)
        wrong = _judge_rate_and_lease(ours, ahead)
        wrong += _judge_window(ours)
        wrong += [
            f"{name} has sent nothing"
            for name in (_AHEAD, _BEHIND)
            if " accepted, " not in ours.said(name)
        ]
        return wrong


def _judge_rate_and_lease(ours: Stage, ahead: Mapping[str, str]) -> list[str]:
    count = 40 * _RATE
    campaign = ours.submit(ours.people(count, first=_FIRST), "--text", _TEXT)
    campaign.wait_until(lambda v: v.total_submitted > count / 4, "a quarter", within_s=_PATIENCE_S)
    wrong = [f"before the kill: {what} ({n})" for what, n in _lost_leases(ours).items()]
    wait_for(lambda: campaign.view.batches["submitting"] > 1, "requests in flight")
    ours.kill(_AHEAD)
    began = time.monotonic()
    left = _held(ours)
    wait_for(lambda: not left & _held(ours), "the end of what it held", within_s=_PATIENCE_S)
    took = time.monotonic() - began
    print(f"what a killed worker held was released after {took:.1f} s", flush=True)
    if took > _MOST_S:
        wrong.append(f"a killed worker's batches were released after {took:.1f} s")
    ours.start_worker(name=_AHEAD, env=ahead, root=ROOT)
    over = campaign.wait_until_over(within_s=_PATIENCE_S)
    if over.total_submitted != count:
        wrong.append(f"{over.total_submitted} of {count} were submitted: {over.counts}")
    ledger = ours.provider.ledger()
    wrong += disagreements(campaign.export(), ledger, lambda _row: _TEXT)
    most = _most_in_span([entry["at"] for entry in ledger])
    print(f"at most {most} in {_SPAN_S:.0f} s, at {_RATE}/s", flush=True)
    if most > _MOST_IN_SPAN:
        wrong.append(f"{most} arrived in {_SPAN_S:.0f} s")
    return wrong


def _judge_window(ours: Stage) -> list[str]:
    """A campaign that has more recipients than its window of a minute has room for."""
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    if opens - datetime.now(UTC) < timedelta(seconds=20):
        opens += timedelta(minutes=1)
    closes = opens + timedelta(minutes=1)
    count, known = 90 * _RATE, len(ours.provider.ledger())
    campaign = ours.submit(
        ours.people(count, first=_FIRST + 1_000_000, name="window.csv"), "--text", _TEXT,
        "--window", f"mon-sun {opens:%H:%M}-{closes:%H:%M}", "--timezone", "UTC",
    )  # fmt: skip
    until = closes.timestamp() + 10
    wait_for(lambda: time.time() > until, "the window's end", within_s=_PATIENCE_S)
    at = [entry["at"] for entry in ours.provider.ledger()[known:]]
    campaign.command("cancel", "--yes")
    early, late = min(at) - opens.timestamp(), closes.timestamp() - max(at)
    print(
        f"{len(at)} left in the window, from {early:.1f} s after its start to {late:.1f} s before "
        "its end",
        flush=True,
    )
    wrong = []
    if early < 0 or late < 0:
        wrong.append("some left outside the window")
    if len(at) < _LEAST_IN_WINDOW:
        wrong.append(f"only {len(at)} left in the window")
    return wrong


def _lost_leases(ours: Stage) -> dict[str, int]:
    with ours.store.read() as conn:
        return {what: n for what, n in load_corrections(conn).items() if n and "lease" in what}


def _held(ours: Stage) -> set[tuple[int, int]]:
    """Batches, as they are held or queued now."""
    with ours.store.read() as conn:
        where = BATCH.c.state.in_([state.value for state in IN_FLIGHT])
        rows = conn.execute(select(BATCH.c.id, BATCH.c.fence).where(where))
        return {(row.id, row.fence) for row in rows}


def _most_in_span(arrivals: Sequence[float]) -> int:
    given, first, most = sorted(arrivals), 0, 0
    for last, at in enumerate(given):
        while given[first] <= at - _SPAN_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def main(given: Sequence[str] | None = None) -> int:
    """Run it; 1 if a clock had anything to say."""
    parser = argparse.ArgumentParser(prog="python -m tests.clocks", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="by which each clock is wrong")
    options = parser.parse_args(given)
    wrong = run_with_wrong_clocks(options.seconds)
    print("\n".join(wrong[:20]) or "the store's clock decided")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
