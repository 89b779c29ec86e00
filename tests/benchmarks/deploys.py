"""What deploys cost a campaign: two workers, one of them restarted every 5 s, in turn; and a kill.

    python -m tests.benchmarks.deploys [--recipients 9000]

The same campaign runs undisturbed first. Nobody may be accepted twice or be in doubt, and the time
from the first arrival to the last may be half as long again. What a worker held that is killed for
good is settled or released within 30 s, at the default lease.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from dispatcher.config.sections import WorkerSettings
from dispatcher.status import IN_FLIGHT
from dispatcher.store.corrections import load_corrections
from dispatcher.store.tables import BATCH
from tests.support.cli import in_process
from tests.support.stage import Stage, stage, wait_for

_FIRST = 919_800_000_000
_EVERY_S = 5.0
_MOST = 1.5
_KILLED_S = 30.0
_WORKERS = ("w1", "w2")
#: What is measured is submission, at the pace of the provider's answers; no rate hides a delay.
_ACCOUNT = {
    "max_recipients": 20, "max_in_flight": 6, "poll_first_s": 600, "validity_hours": 1,
}  # fmt: skip
_ANSWER_MS = 500


@dataclass(frozen=True)
class Measured:
    """What a run has shown; `lost` counts leases that ran out."""

    seconds: float
    deploys: int
    doubles: int
    doubtful: int
    lost: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, {self.deploys} deploys, {self.doubles} doubles, "
            f"{self.doubtful} in doubt, {self.lost} leases ran out"
        )


def measure(count: int, *, deploys: bool) -> Measured:
    """Run a campaign, with deploys or without."""
    with stage(accounts={"main": _ACCOUNT}, command=in_process, is_guarded=False) as ours:
        ours.provider.fault("slow", on="submit", params={"ms": _ANSWER_MS})
        ours.celery("beat", "--pidfile=")
        for name in _WORKERS:
            ours.start_worker(name=name)
        campaign = ours.submit(ours.people(count, first=_FIRST))

        def is_over() -> bool:
            return campaign.counts["pending"] == 0 and not campaign.view.batches["submitting"]

        done = _restart_in_turn(ours, is_over) if deploys else 0
        wait_for(is_over, "everybody", within_s=600)
        ledger, counts = ours.provider.ledger(), campaign.counts
        at = [entry["at"] for entry in ledger]
        with ours.store.read() as conn:
            lost = sum(n for what, n in load_corrections(conn).items() if "lease" in what)
        return Measured(
            seconds=max(at) - min(at),
            deploys=done,
            doubles=len(ledger) - len({entry["number"] for entry in ledger}),
            doubtful=counts["in_doubt"] + count - len(ledger),
            lost=lost,
        )


def _restart_in_turn(ours: Stage, is_over: Callable[[], bool]) -> int:
    """Until the campaign is over; how often. A worker that does not end by itself is an error."""
    for done, name in enumerate(itertools.cycle(_WORKERS)):
        next_at = time.monotonic() + _EVERY_S
        while time.monotonic() < next_at:
            if is_over():
                return done
            time.sleep(0.1)
        if ours.stop(name, within_s=60) != 0:
            raise RuntimeError(f"{name} did not end by itself: {ours.said(name)[-2000:]}")
        ours.start_worker(name=name)
    raise AssertionError


def after_a_kill() -> float:
    """Seconds from `kill -9` of one of two workers until nothing waits for it any more."""
    defaults = WorkerSettings()
    worker = {"lease_s": defaults.lease_s, "requeue_after_s": defaults.requeue_after_s}
    with stage(
        accounts={"main": _ACCOUNT}, worker=worker, command=in_process, is_guarded=False
    ) as ours:
        ours.provider.fault("slow", on="submit", params={"ms": _ANSWER_MS})
        ours.celery("beat", "--pidfile=")
        for name in _WORKERS:
            ours.start_worker(name=name)
        campaign = ours.submit(ours.people(12_000, first=_FIRST))

        def held() -> set[tuple[int, int]]:
            """Batches, as they are held or queued."""
            with ours.store.read() as conn:
                where = BATCH.c.state.in_([state.value for state in IN_FLIGHT])
                rows = conn.execute(select(BATCH.c.id, BATCH.c.fence).where(where))
                return {(row.id, row.fence) for row in rows}

        wait_for(lambda: campaign.view.batches["submitting"] > 3, "something in flight")
        ours.kill(_WORKERS[0])
        began = time.monotonic()
        left = held()
        wait_for(lambda: not left & held(), "the end of what it held", within_s=60)
        took = time.monotonic() - began
        campaign.command("cancel", "--yes")
        return took


def main() -> int:
    """Print a line for each run and their ratio; 1 where it is too high or anybody was hurt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=9000)
    given = parser.parse_args()
    calm = measure(given.recipients, deploys=False)
    print(f"undisturbed:  {calm}", flush=True)
    busy = measure(given.recipients, deploys=True)
    ratio = busy.seconds / calm.seconds
    print(f"with deploys: {busy}; {ratio:.2f} times as long", flush=True)
    took = after_a_kill()
    print(f"a killed worker's work was settled or released after {took:.1f} s", flush=True)
    hurt = busy.doubles or busy.doubtful or busy.lost
    return int(bool(hurt) or ratio > _MOST or not busy.deploys or took > _KILLED_S)


if __name__ == "__main__":
    sys.exit(main())
