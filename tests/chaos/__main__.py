"""`python -m tests.chaos`: chaos runs one after another, a line of figures each."""

import argparse
import itertools
import random
import sys
import time

from tests.chaos.figures import Plan
from tests.chaos.scene import PROVIDERS, STORES, run

_SHOWN = 20


def main() -> int:
    """Run; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of chaos, over all runs")
    parser.add_argument("--store", choices=STORES, action="append", help="default: both")
    parser.add_argument("--provider", choices=PROVIDERS, action="append", help="default: both")
    parser.add_argument("--seed", type=int, help="default: drawn, and printed")
    given = parser.parse_args()
    seed = random.randrange(100_000) if given.seed is None else given.seed
    combinations = list(itertools.product(given.store or STORES, given.provider or PROVIDERS))
    failed = False
    for store, provider in combinations:
        plan = Plan(
            seconds=given.seconds / len(combinations), store=store, provider=provider, seed=seed
        )
        began = time.monotonic()
        figures = run(plan)
        print(f"{figures}, {time.monotonic() - began:.0f} s in all", flush=True)
        for details in ({**figures.events, **figures.own_exits}, figures.commands, figures.faults):
            print("  " + ", ".join(f"{name}: {n}" for name, n in details.items()), flush=True)
        violations = figures.findings.violations
        for violation in violations[:_SHOWN]:
            print(f"  VIOLATED: {violation}", file=sys.stderr)
        if violations:
            failed = True
            print(f"  {len(violations)} violations; see {figures.folder}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
