"""Personal texts to a provider of single requests: how many connections do they take?

    python -m tests.benchmarks.connections [10000 [100]]

How many, and the milliseconds that the provider takes for an answer.

Real Celery processes against the simulator. The short edition is an acceptance test.
"""

import csv
import sys
import time
from typing import NamedTuple

from tests.support.stage import KEY, disagreements, stage, wait_for

IN_FLIGHT = 100


class Figures(NamedTuple):
    """What the provider saw of one campaign."""

    accepted: int
    requests: int
    #: All that were ever made, and the most at a time.
    connections: int
    max_connections: int
    max_requests_at_once: int
    disagreements: int
    seconds: float


def measure(count: int, delay_ms: int = 100) -> Figures:
    """Send `count` people a text of their own each, with `IN_FLIGHT` requests in flight."""
    account = {
        "provider": "smsnoc",
        "api_key": None,
        "api_token": KEY,
        "template": None,
        "max_in_flight": IN_FLIGHT,
        "poll_first_s": 600,
        "poll_max_s": 600,
    }
    with stage(accounts={"main": account}, is_guarded=False) as ours:
        ours.start()
        # So that requests overlap: else each is answered before the next one is there.
        ours.provider.fault("slow", params={"ms": delay_ms})
        people = ours.folder / "people.csv"
        with people.open("w", encoding="utf-8", newline="") as file:
            rows = [(919800000000 + i, f"OR{i}") for i in range(count)]
            csv.writer(file).writerows([("phone", "order"), *rows])
        began = time.monotonic()
        campaign = ours.submit(people, "--text", "Your order {{order}} is ready.")
        wait_for(lambda: not campaign.view.counts["pending"], "everybody", within_s=60 + count / 20)
        took = time.monotonic() - began
        seen, ledger = ours.provider.stats(), ours.provider.ledger()
        differ = disagreements(
            campaign.export(), ledger, lambda row: f"Your order {row['order']} is ready."
        )
    return Figures(
        accepted=seen["accepted"],
        requests=seen["accepted_requests"],
        connections=seen["connections"],
        max_connections=seen["max_connections"],
        max_requests_at_once=seen["max_requests_at_once"],
        disagreements=len(differ),
        seconds=round(took, 1),
    )


if __name__ == "__main__":
    print(measure(*map(int, sys.argv[1:] or ["10000"])))
