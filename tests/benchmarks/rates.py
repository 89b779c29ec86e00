"""Rates as the provider sees them: two worker processes, a minute at 1/s, 50/s and 1000/s.

    python -m tests.benchmarks.rates [--seconds 60] [--only NAME]

For each rate: the most that arrived in any one second, how much of the rate was used between the
first arrival and the last, and the same of the starts that the store has on record. At 1000/s a
pause and a resumption are timed as well.
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.arrivals import at_most_in_a_second, starts_on_record, too_early
from tests.support.cli import in_process
from tests.support.stage import ACCOUNT, KEY, stage, wait_for

_SINGLE = {"provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None}
_FIRST = 919_800_000_000
#: Receipts are asked for later: what is measured is submission.
_LATER = {"poll_first_s": 600, "poll_max_s": 600, "validity_hours": 1}


@dataclass(frozen=True)
class Case:
    """A rate of an account; `most` is how many of its unit may arrive in any second."""

    account: dict[str, Any]
    text: str
    unit: str
    rate: float
    most: float
    recipients_per_unit: int = 1


CASES = {
    "1 message/s, single sends": Case(
        {**_SINGLE, "messages_per_second": 1, "max_in_flight": 8},
        "Dear {{name}}.", "messages", 1, 2,
    ),
    "50 messages/s, single sends": Case(
        {**_SINGLE, "messages_per_second": 50, "max_in_flight": 50},
        "Dear {{name}}.", "messages", 50, 51.5,
    ),
    "1000 messages/s, bulk": Case(
        {"messages_per_second": 1000, "max_recipients": 100}, "Dear {{name}}.",
        "messages", 1000, 1100,
    ),
    "1 request/s, bulk": Case(
        {"requests_per_second": 1, "max_recipients": 50}, "Dear {{name}}.", "requests", 1, 2, 50
    ),
    "50 requests/s, bulk": Case(
        {"requests_per_second": 50, "max_recipients": 20, "max_in_flight": 32}, "Dear {{name}}.",
        "requests", 50, 51.5, 20,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What a run has shown."""

    most: float
    used: float
    #: On record: starts that were given before what precedes them is paid, and used of the rate.
    early: int
    booked_used: float
    doubles: int
    withdrawn: int
    #: Of arrivals after the start on record: the middle one, and 99 of a hundred are under that.
    late_ms: tuple[float, float]

    def __str__(self) -> str:
        median, high = self.late_ms
        return (
            f"at most {self.most:g} in a second, {self.used:.1%} used; on record {self.early} "
            f"starts too early, {self.booked_used:.1%} used; {self.doubles} doubles, "
            f"{self.withdrawn} requests withdrawn, arrived {median:.0f} ms after their start, "
            f"99 of 100 within {high:.0f} ms"
        )


def measure(case: Case, seconds: float) -> Measured:
    """Run a campaign of `seconds` at the case's rate."""
    count = max(3, round(case.rate * seconds)) * case.recipients_per_unit
    with stage(
        accounts={"main": _LATER | case.account}, command=in_process, is_guarded=False
    ) as ours:
        ours.start()
        ours.start_worker(name="worker2")
        campaign = ours.submit(ours.people(count, first=_FIRST), "--text", case.text)
        wait_for(
            lambda: campaign.view.total_submitted == count, "everybody", within_s=4 * seconds + 60
        )
        ledger = ours.provider.ledger()
        arrivals = [*amounts(ledger, case.unit)]
        record = starts_on_record(ours.store, float(ACCOUNT["timeout_s"]))
        starts = [(s.at, 1 if case.unit == "requests" else s.recipients) for s in record]
        left = [start.at for start in record if start.has_left]
        late = [(at - start) * 1000 for (at, _), start in zip(arrivals, left, strict=True)]
        return Measured(
            most=at_most_in_a_second(arrivals),
            used=used(arrivals, case.rate),
            early=len(too_early(starts, case.rate)),
            booked_used=used(starts, case.rate),
            doubles=len(ledger) - len({entry["number"] for entry in ledger}),
            withdrawn=len(record) - len(left),
            late_ms=(statistics.median(late), statistics.quantiles(late, n=100)[-1]),
        )


def used(events: list[tuple[float, float]], rate: float) -> float:
    """The share of the rate from the first event to the last, whose own time comes after it."""
    took = events[-1][0] - events[0][0]
    return sum(amount for _, amount in events[:-1]) / rate / took


def amounts(ledger: list[dict[str, Any]], unit: str) -> Iterator[tuple[float, float]]:
    """When each request arrived, and what it counts for."""
    for at, recipients in sorted(Counter(entry["at"] for entry in ledger).items()):
        yield at, 1 if unit == "requests" else recipients


def control(seconds: float) -> str:
    """Pause to last request and resume to first request at 1000 messages a second."""
    account = {**_LATER, "messages_per_second": 1000, "max_recipients": 100}
    with stage(accounts={"main": account}, command=in_process, is_guarded=False) as ours:
        ours.start()
        ours.start_worker(name="worker2")
        people = ours.people(round(1000 * (seconds + 10)), first=_FIRST)
        campaign = ours.submit(people)
        wait_for(lambda: campaign.view.total_submitted >= 1000 * seconds / 2, "half of it")
        asked = datetime.now(UTC).timestamp()
        campaign.command("pause")
        wait_for(lambda: datetime.now(UTC).timestamp() > asked + 4, "the pause")
        before = ours.provider.ledger()
        again = datetime.now(UTC).timestamp()
        campaign.command("resume")
        wait_for(lambda: len(ours.provider.ledger()) > len(before), "its going on")
        first = ours.provider.ledger()[len(before)]["at"]
        campaign.command("cancel", "--yes")
    return (
        f"pause to last request {before[-1]['at'] - asked:.2f} s, "
        f"resume to first request {first - again:.2f} s"
    )


def main() -> int:
    """Print a line for each; 1 where a rate was passed or too little of it used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    failed = False
    for name, case in CASES.items():
        if given.only in name:
            found = measure(case, given.seconds)
            is_bad = found.most > case.most or found.used < 0.97 or found.doubles or found.early
            failed |= bool(is_bad)
            print(f"{name}: {found}{'  <-- not kept' if is_bad else ''}", flush=True)
    if given.only in "control":
        print(f"1000 messages/s, control: {control(min(6, given.seconds))}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
