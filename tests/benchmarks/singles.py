"""Personal texts, one request each: how fast they leave, at every rate, beside a plain script.

    python -m tests.benchmarks.singles [--count 4000] [--only TEXT] [--workers 1]

Each row is a campaign by real Celery processes against the simulator: messages per second between
the first arrival and the last, the share used of what is allowed (the smaller of the rate and what
the same machine does without one), and the most that arrived in any one second. The script is a
hundred requests at a time by aiohttp, nothing stored, in the same minutes.
"""

import argparse
import asyncio
import csv
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from dispatcher.providers import provider_class
from dispatcher.status import Encoding, Kind
from dispatcher.types import HttpRequest, Recipient, Route, SubmitBatch
from tests.benchmarks.bulk import Used, used_by
from tests.support.arrivals import at_most_in_a_second
from tests.support.cli import in_process
from tests.support.postgres_server import DURABLE, running_server
from tests.support.simulator import SimulatorProcess
from tests.support.stage import KEY, stage, wait_for

_FIRST = 919_800_000_000
_LATER = {"poll_first_s": 600, "poll_max_s": 600, "validity_hours": 1}
_SINGLE = {"provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None}
_MOST_S = 40


@dataclass(frozen=True)
class Case:
    """An account's rate and ceiling, and the provider's answer time."""

    name: str
    keys: dict[str, Any] = field(default_factory=dict)
    rate: float | None = None
    delay_ms: int = 0


CASES = [
    Case("no rate, 100 in flight", {"max_in_flight": 100}),
    Case("no rate, by itself"),
    Case("no rate, 4 in flight", {"max_in_flight": 4}),
    Case("no rate, by itself, 20 ms", delay_ms=20),
    Case("no rate, by itself, 200 ms", delay_ms=200),
    *(
        Case(f"{rate}/s, by itself", {"messages_per_second": rate}, rate)
        for rate in (10, 50, 200, 1000, 2000, 10_000, 1_000_000)
    ),
    Case("200/s, by itself, 200 ms", {"messages_per_second": 200}, 200, delay_ms=200),
    Case("50 requests/s, by itself", {"requests_per_second": 50}, 50),
    Case("200 parts/s, by itself", {"parts_per_second": 200}, 200),
]


@dataclass(frozen=True)
class Measured:
    """What arrived at the provider."""

    per_second: float
    most: float
    doubles: int
    withdrawn: int
    workers: list[Used]


def measure(case: Case, count: int, workers: int, *, most_s: float = _MOST_S / 2) -> Measured:
    """Send a campaign of personal texts, no longer than about `most_s` at its rate."""
    if case.rate is not None:
        count = min(count, max(20, round(case.rate * most_s)))
    account = _SINGLE | _LATER | case.keys
    with stage(accounts={"main": account}, command=in_process, is_guarded=False) as ours:
        ours.start()
        for number in range(1, workers):
            ours.start_worker(name=f"worker{number + 1}")
        if case.delay_ms:
            ours.provider.fault("slow", params={"ms": case.delay_ms})
        people = ours.folder / "people.csv"
        with people.open("w", encoding="utf-8", newline="") as file:
            rows = [(_FIRST + i, f"OR{i}") for i in range(count)]
            csv.writer(file).writerows([("phone", "order"), *rows])
        campaign = ours.submit(people, "--text", "Your order {{order}} is ready.")
        wait_for(
            lambda: campaign.view.total_submitted == count, "everybody", within_s=3 * _MOST_S + 60
        )
        ledger = ours.provider.ledger()
        withdrawn = _withdrawn(ours.store)
        names = ["worker", *(f"worker{number + 1}" for number in range(1, workers))]
        used = [used_by(ours.pid(name)) for name in names]
    at = sorted(entry["at"] for entry in ledger)
    return Measured(
        per_second=(len(at) - 1) / (at[-1] - at[0]),
        most=at_most_in_a_second([(each, 1) for each in at]),
        doubles=len(ledger) - len({entry["number"] for entry in ledger}),
        withdrawn=withdrawn,
        workers=used,
    )


def _withdrawn(store: Any) -> int:
    from sqlalchemy import func, select

    from dispatcher.status import AttemptOutcome
    from dispatcher.store.tables import ATTEMPT

    with store.read() as conn:
        query = select(func.count()).where(ATTEMPT.c.outcome == AttemptOutcome.NOT_SENT)
        return int(conn.execute(query).scalar_one())


def many_campaigns(campaigns: int, *, rate: int) -> tuple[float, float]:
    """Personal texts of many campaigns on one account, PostgreSQL: messages per second, and the
    smaller of the rate and what one campaign reaches in the same minute.
    """
    each, speeds = max(4, 4000 // campaigns), []
    keys = {"messages_per_second": rate, "max_in_flight": 50}
    for count in (1, campaigns):
        with running_server(DURABLE) as server, server.database() as url:
            account = _SINGLE | _LATER | keys
            with stage(
                accounts={"main": account}, store_url=url, command=in_process, is_guarded=False
            ) as ours:
                total = each * campaigns
                for n in range(count):
                    first, size = _FIRST + n * each, total // count
                    people = ours.people(size, first=first, name=f"{n}.csv")
                    ours.submit(people, "--text", "Dear {{name}}.")
                ours.start()
                wait_for(
                    lambda n=total: ours.provider.stats()["accepted"] == n, "all", within_s=300
                )
                at = sorted(entry["at"] for entry in ours.provider.ledger())
        speeds.append((len(at) - 1) / (at[-1] - at[0]))
    return speeds[1], min(rate, speeds[0])


def script(count: int) -> float:
    """Messages per second of a plain aiohttp script that stores nothing."""
    with SimulatorProcess(options=("--key", KEY)) as provider:
        adapter = provider_class("smsnoc")(
            provider_class("smsnoc").settings_type(
                provider="smsnoc", base_url=provider.base_url("smsnoc"), api_token=KEY
            )
        )
        batch = SubmitBatch(
            recipients=[
                Recipient(n, _FIRST + n, f"Your order OR{n} is ready.") for n in range(count)
            ],
            encoding=Encoding.GSM7, kind=Kind.TRANSACTIONAL, route=Route(sender="SENDER"),
        )  # fmt: skip
        requests = [each.http for each in adapter.submit_requests(batch)]

        async def run() -> float:
            places = asyncio.Semaphore(100)
            connector = aiohttp.TCPConnector(limit=100)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def one(request: HttpRequest) -> None:
                    async with (
                        places,
                        session.post(
                            request.url, data=request.body, headers=request.headers
                        ) as answer,
                    ):
                        await answer.read()
                        assert answer.status == 200, answer.status

                began = time.monotonic()
                await asyncio.gather(*map(one, requests))
                return count / (time.monotonic() - began)

        return asyncio.run(run())


def main() -> int:
    """Print a row for each case; 1 where a rate was passed or not used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    print(f"script: {script(given.count):.0f} messages/s", flush=True)
    free: float | None = None
    failed = False
    for case in CASES:
        if given.only not in case.name and case.name != CASES[1].name:
            continue
        found = measure(case, given.count, given.workers)
        if case.name == CASES[1].name:
            free = found.per_second
        allowed = min(case.rate or found.per_second, free or found.per_second)
        is_bad = bool(found.doubles) or (
            case.rate is not None
            and (found.per_second < 0.97 * allowed or found.most > case.rate + 1)
        )
        failed |= is_bad
        print(
            f"{case.name}: {found.per_second:.1f}/s, {found.per_second / allowed:.1%} used, at "
            f"most {found.most:g} in a second, {found.withdrawn} withdrawn, "
            f"{found.doubles} doubles{'  <-- not kept' if is_bad else ''}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
