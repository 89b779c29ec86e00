"""A steady load for long, with every process of production: nothing that should stay flat grows.

    make soak [SECONDS=300] [ARGS="--rate 3000 --workers 3"]

Campaigns follow each other at 3,000 recipients a second, through three worker processes over
PostgreSQL, 2,000 recipients a request, to a lean provider. Beside them run beat, the receiver (30
receipts a second, replies, and bodies that cannot be read), `dispatcher metrics` and each worker's
own (scraped every 5 s), Flower with a password (and somebody who reads it), notices to a webhook,
questions for balances, and JSON logs. A line every few seconds shows memory of each process, and
what a recipient takes in tables and logs. The last lines show each process once it was warm and in
the end. It ends with 1 where anything has grown, where the load was not kept, where anybody was
submitted twice or lost, or where a call was answered otherwise than it should be.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from tests.benchmarks.soak.everything import everything
from tests.benchmarks.soak.growth import Sample, find_growth, show_quarters

_SAMPLES = 40


def soak(*, seconds: float, rate: int, workers: int) -> tuple[list[Sample], list[str]]:
    """Run the load, and print what is seen; the samples, and what went wrong."""
    samples = []
    with everything(seconds=seconds, rate=rate, workers=workers) as ours:
        # Whoever interrupts it sees what was found so far.
        with suppress(KeyboardInterrupt):
            for _ in _tick(seconds):
                samples.append(ours.take_sample())
                print(samples[-1], flush=True)
        wrong = ours.finish()
    return samples, wrong


def _tick(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    for n in range(1, _SAMPLES + 1):
        time.sleep(max(0.0, began + n * seconds / _SAMPLES - time.monotonic()))
        yield


def main() -> int:
    """Print the samples; 1 where something has grown or went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=3)
    given = parser.parse_args()
    samples, wrong = soak(seconds=given.seconds, rate=given.rate, workers=given.workers)
    wrong += find_growth(samples, rate=given.rate)
    print("\n".join(show_quarters(samples)))
    print("\n".join(wrong) or "nothing has grown, and nothing went wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
