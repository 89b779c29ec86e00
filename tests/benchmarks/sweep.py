"""Rates, answer times, requests in flight and worker processes, in many combinations.

    python -m tests.benchmarks.sweep [--cases 24] [--seconds 8] [--count 2000] [--check]

For each combination personal texts are sent twice: at the rate, and without one. The speed without
a rate is another one each minute, and a longer campaign is faster: where it decides, it is measured
once more, with as many messages.
Used is the share of the smaller of the rate and the speed without it; in no second may more arrive
than the rate and one request. Each value of each column comes up; not each of all combinations.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Final

from tests.benchmarks.singles import Case, Measured, measure
from tests.benchmarks.table import Row, as_markdown, has_missed

RATES: Final = (200, 1_000_000, 50, 2000, 1000, 10_000, 10, 1)
LATENCIES_MS: Final = (0, 200, 20)
IN_FLIGHT: Final = (None, 100, 4, 1)
WORKERS: Final = (1, 3)
UNITS: Final = ("messages", "parts", "requests")
_LEAST_USED: Final = 0.97
#: Of the speed without a rate; a lower rate is what is possible, whatever the minute.
_CLEARLY_LESS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Combination:
    """An account's rate and ceiling, the provider's answer time, and how many worker processes."""

    rate: float
    unit: str
    latency_ms: int
    in_flight: int | None
    workers: int

    @property
    def setting(self) -> tuple[int, int | None, int]:
        """What the speed without a rate depends on."""
        return self.latency_ms, self.in_flight, self.workers

    def case(self, *, has_rate: bool) -> Case:
        """What to measure."""
        keys = {} if self.in_flight is None else {"max_in_flight": self.in_flight}
        if has_rate:
            keys[f"{self.unit}_per_second"] = round(self.rate)
        return Case(str(self), keys, self.rate if has_rate else None, self.latency_ms)

    def __str__(self) -> str:
        flight = "unset" if self.in_flight is None else self.in_flight
        return (
            f"{self.rate:,g} {self.unit}/s, {self.latency_ms} ms, {flight} in flight, "
            f"{self.workers} worker{'s' * (self.workers > 1)}"
        )


def combinations() -> Iterator[Combination]:
    """All 24 of rate and answer time; the other values take turns, the most telling first."""
    for n, (latency_ms, rate) in enumerate(product(LATENCIES_MS, RATES)):
        turn = n + n // len(RATES)
        in_flight = IN_FLIGHT[turn % len(IN_FLIGHT)]
        yield Combination(rate, UNITS[n % 3], latency_ms, in_flight, WORKERS[turn // 2 % 2])


def judge(combination: Combination, found: Measured, free: float) -> Row:
    """The line of a combination, with the messages per second without a rate."""
    possible = min(combination.rate, free)
    used = found.per_second / possible
    is_kept = found.most <= combination.rate + 1 and not found.doubles
    return Row(
        name=str(combination),
        measured=f"{found.per_second:.4g}/s, at most {found.most:g} in a second",
        target=f"≥ {_LEAST_USED:.0%} of {possible:.4g}/s, ≤ {combination.rate + 1:,g}",
        ratio=used,
        ok=used >= _LEAST_USED and is_kept,
        costs=f"{found.withdrawn} withdrawn; " + ", ".join(map(str, found.workers)),
    )


def sweep(cases: int, *, seconds: float, count: int) -> Iterator[Row]:
    """The lines of the first `cases` combinations."""
    known: dict[tuple[int, int | None, int], float] = {}
    for each in islice(combinations(), cases):
        if each.setting not in known:
            most = _most_messages(each, seconds=seconds, count=count)
            known[each.setting] = _measure_free(each, most)
        possible = min(each.rate, known[each.setting])
        most = min(count, max(20 if each.rate > 1 else 8, round(possible * seconds)))
        found = measure(each.case(has_rate=True), most, each.workers, most_s=seconds)
        if each.rate > _CLEARLY_LESS * known[each.setting]:
            known[each.setting] = _measure_free(each, most)
        yield judge(each, found, known[each.setting])


def _measure_free(each: Combination, count: int) -> float:
    return measure(each.case(has_rate=False), count, each.workers).per_second


def _most_messages(each: Combination, *, seconds: float, count: int) -> int:
    """With one request in flight and a slow answer thousands would take an hour."""
    if not each.latency_ms:
        return count
    in_turn = min(count, round(seconds * 2000 / each.latency_ms))
    return min(count, max(60, in_turn * (each.in_flight or 64)))


def main() -> int:
    """Print the table; with --check 1 where a rate was passed or not used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    rows = []
    for row in sweep(given.cases, seconds=given.seconds, count=given.count):
        print(f"{row.name}: {row.measured}, {row.ratio:.0%} used", file=sys.stderr, flush=True)
        rows.append(row)
    print(as_markdown(rows))
    return int(given.check and has_missed(rows))


if __name__ == "__main__":
    sys.exit(main())
