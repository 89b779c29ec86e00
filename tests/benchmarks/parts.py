"""What `make bench` measures: the lines of the table, by parts, in two editions.

Each part calls what the benchmark of its own command measures, with the sizes of the edition. What
is compared runs in the same minute and in the same place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from dispatcher.local.celery import workers_by_default
from tests.benchmarks import (
    bulk,
    fairness,
    idle,
    imports,
    peers,
    pushes,
    singles,
    startup,
    sweep,
    ticks,
)
from tests.benchmarks.table import Part, Row, at_least, at_most

#: Of a command on a campaign of a million; a smaller one may take its share of it, and a start.
_SECONDS_OF_A_MILLION: Final = {"submit": 8.0, "dry-run": 6.0, "export": 8.0}
_START_S: Final = 0.35
_MOST_OF_A_LOOK_S: Final = 1.0
_MOST_MIB: Final = 150
_TIMES_THE_ORM: Final = 7.0
_ENOUGH_FOR_ORM: Final = 100_000


@dataclass(frozen=True, slots=True)
class Edition:
    """How much is measured, and how long a part may take."""

    name: str
    bulk: int
    peer: int
    singles: int
    tasks: int
    imports: tuple[int, ...]
    accounts: int
    campaigns: int
    starts: int
    cases: int
    limit_s: float


QUICK: Final = Edition(
    name="quick", bulk=20_000, peer=4000, singles=2000, tasks=500, imports=(50_000,),
    accounts=100, campaigns=20, starts=3, cases=2, limit_s=120,
)  # fmt: skip
FULL: Final = Edition(
    name="full", bulk=1_000_000, peer=100_000, singles=50_000, tasks=5000,
    imports=(300_000, 1_000_000), accounts=1000, campaigns=1000, starts=9, cases=12, limit_s=600,
)  # fmt: skip


def _bulk(kind: str, edition: Edition) -> Iterator[Row]:
    """With as many workers as `dispatcher up` starts here, and with one."""
    workers = workers_by_default()
    pair = bulk.measure_pair(edition.bulk, kind, workers=workers)
    floor, found = pair.floor, pair.program
    assert floor is not None
    what = f"{edition.bulk:,} in bulk, {kind}"
    yield Row(
        name=f"{what}: the floor",
        measured=f"{floor['total_s']:.1f} s",
        costs=f"{floor['cpu_s']:.1f} s {floor['rss_mib']} MiB",
    )
    most_s = bulk.TARGETS[kind] * floor["total_s"]
    target = f"≤ {bulk.TARGETS[kind]:g} × the floor"

    def line(name: str, found: bulk.Measured, *, is_judged: bool = True) -> Row:
        row = at_most(name, found.total_s, most_s, "s", costs=", ".join(map(str, found.workers)))
        hurt = found.provider["doubles"] or found.provider["accepted"] != edition.bulk
        is_met = False if hurt else row.ok if is_judged else None
        ratio = found.total_s / floor["total_s"]
        return _changed(row, ratio=ratio, target=target if is_judged else "", ok=is_met)

    yield line(what if workers == 1 else f"{what}, {workers} workers", found)
    if workers > 1:
        found = bulk.measure_pair(edition.bulk, kind, has_floor=False).program
        yield line(f"{what}, one worker", found, is_judged=False)
    us = found.cpu_us(edition.bulk)
    yield at_most(f"{what}: workers' time a recipient", us, bulk.TARGET_US, "µs")


def _orm(kind: str, edition: Edition) -> Iterator[Row]:
    """How many times as fast the program is, and beside it how fast the floor is."""
    count, workers = edition.peer, workers_by_default()

    def beside(people: Any, url: str) -> peers.Peer:
        return peers.celery_batches(people, count, url, 1.0)

    pair = bulk.measure_pair(count, kind, workers=workers, beside=beside)
    what = f"{count:,} in bulk, {kind}"
    peer: peers.Peer = pair.beside
    assert pair.floor is not None
    yield Row(
        name=f"{what}: Celery batches and ORM updates",
        measured=f"{peer.total_s:.1f} s",
        costs=f"{peer.cpu_s:.1f} s",
    )
    ratio = peer.total_s / pair.program.total_s
    row = at_least(f"{what}: times as fast as those", ratio, _TIMES_THE_ORM, "times")
    if count < _ENOUGH_FOR_ORM:
        # What does not grow with the number, as the wait for receipts, is most of it.
        row = _changed(row, ok=None, target=f"{row.target} at {_ENOUGH_FOR_ORM:,}")
    yield _changed(row, ratio=ratio, costs=", ".join(map(str, pair.program.workers)))
    floor_s = pair.floor["total_s"]
    yield Row(
        name=f"{what}: the floor, times as fast as those",
        measured=f"{floor_s:.1f} s",
        ratio=peer.total_s / floor_s,
    )


def _singles(edition: Edition) -> Iterator[Row]:
    """With as many workers as `dispatcher up` starts here, and with one."""
    script = singles.script(edition.singles)
    yield Row(name="one by one: a script with aiohttp", measured=f"{script:,.0f}/s")
    speeds: dict[str, float] = {}

    def line(name: str, least: float, keys: dict[str, Any], *, workers: int, **more: Any) -> Row:
        found = singles.measure(singles.Case(name, keys, **more), edition.singles, workers)
        speeds[name] = found.per_second
        costs = f"{found.withdrawn} withdrawn; " + ", ".join(map(str, found.workers))
        row = at_least(f"one by one: {name}", found.per_second, least, "/s", costs=costs)
        rate = more.get("rate") or found.most
        return _changed(row, ok=row.ok and not found.doubles and found.most <= rate + 1)

    count = workers_by_default()
    wanted = {"no rate, 100 in flight": {"max_in_flight": 100}, "no rate": {}}
    for name, keys in wanted.items():
        row = line(name, 0.5 * script, keys, workers=count)
        yield _changed(row, target="≥ 0.5 × the script", ratio=speeds[name] / script)
        if count > 1:
            row = line(f"{name}, one worker", 0.5 * script, keys, workers=1)
            ratio = speeds[f"{name}, one worker"] / script
            yield _changed(row, target="", ok=None, ratio=ratio)
    free = speeds["no rate"]
    for rate in (200, 2000, 1_000_000):
        name, keys = f"{rate:,}/s", {"messages_per_second": rate}
        row = line(name, 0.97 * min(rate, free), keys, workers=count, rate=rate)
        yield _changed(row, target=f"≥ 97 % of {min(rate, free):,.0f}/s")


def _tasks(edition: Edition) -> Iterator[Row]:
    for kind in ("sqlite", "postgres"):
        with peers.new_store(kind) as url:
            peer = peers.celery_task_per_message(edition.tasks, url)
        yield Row(
            name=f"one by one: a Celery task per message, {kind}",
            measured=f"{edition.tasks / peer.total_s:,.0f}/s",
            costs=f"{peer.cpu_s:.1f} s",
        )


def _commands(edition: Edition) -> Iterator[Row]:
    for count in edition.imports:
        for name, cost in imports.run(count):
            whole_s = _SECONDS_OF_A_MILLION.get(name.removesuffix("-cancelled"))
            most_s = _MOST_OF_A_LOOK_S if whole_s is None else _START_S + whole_s * count / 1e6
            row = at_most(f"campaign {name}, {count:,} recipients", cost.wall_s, most_s, "s")
            yield _changed(
                row,
                target=f"{row.target} s, ≤ {_MOST_MIB} MiB",
                ok=row.ok and cost.peak_mib <= _MOST_MIB,
                costs=f"{cost.cpu_s:.1f} s {cost.peak_mib} MiB",
            )


def _ticks(kind: str, edition: Edition) -> Iterator[Row]:
    count = edition.accounts
    p95, share = ticks.run(kind, count, count, 5 if edition is QUICK else 20, 0)
    what = f"a tick, {count:,} accounts that wait for receipts, {kind}"
    yield at_most(what, p95, ticks.P95_MS, "ms (p95)")
    yield at_most(f"{what}: of a core", share * 100, ticks.SHARE * 100, "%")


def _pushes(kind: str, edition: Edition) -> Iterator[Row]:
    count = edition.bulk // 10
    found = pushes.measure(count, kind)
    name = f"{count:,} pushed receipts, {kind}"
    yield at_least(name, found.of_a_core, pushes.TARGET, "/s of one core")


def _many_campaigns(edition: Edition) -> Iterator[Row]:
    found, allowed = singles.many_campaigns(edition.campaigns, rate=500)
    name = f"{edition.campaigns:,} campaigns on one account, PostgreSQL"
    yield _changed(
        at_least(name, found, 0.97 * allowed, "/s"), target=f"≥ 97 % of {allowed:,.0f}/s"
    )


def _starts(edition: Edition) -> Iterator[Row]:
    taken = startup.run(edition.starts)
    for name, limit_ms in startup.LIMITS_MS.items():
        least = min(runs[name][0] for runs in taken)
        yield at_most(f"dispatcher {name}: start", least, limit_ms, "ms of processor time")


def _idle(_edition: Edition) -> Iterator[Row]:
    cost = idle.measure(10_000, 1_000_000)
    yield at_most("a tick, 10,000 finished campaigns", cost.median_ms, idle.LIMIT_MS, "ms")


def _fairness(_edition: Edition) -> Iterator[Row]:
    figures = fairness.measure()
    yield Row(name="fairness", measured=str(figures), target="see there", ok=figures.is_fair)


def _scale_out(edition: Edition) -> Iterator[Row]:
    case = singles.Case("100 ms", {"max_in_flight": 16}, delay_ms=100)
    count = min(edition.singles, 6000)
    one = singles.measure(case, count // 3, 1).per_second
    yield Row(name="one by one, 100 ms, 16 in flight: 1 worker", measured=f"{one:.0f}/s")
    for workers, least in ((2, 1.9), (4, 3.6)):
        more = singles.Case("100 ms", {"max_in_flight": 16 * workers}, delay_ms=100)
        found = singles.measure(more, count, workers)
        name = f"one by one, 100 ms, 16 in flight each: {workers} workers"
        row = at_least(name, found.per_second, least * one, "/s")
        yield _changed(row, target=f"≥ {least} × one", ratio=found.per_second / one)


def parts(edition: Edition) -> list[Part]:
    """The parts of an edition, in the order of the table."""
    both: dict[str, Callable[[], Iterator[Row]]] = {
        "bulk-sqlite": partial(_bulk, "sqlite", edition),
        "bulk-postgres": partial(_bulk, "postgres", edition),
        "orm-sqlite": partial(_orm, "sqlite", edition),
        "orm-postgres": partial(_orm, "postgres", edition),
        "commands": partial(_commands, edition),
        "singles": partial(_singles, edition),
        "tasks": partial(_tasks, edition),
        "sweep": lambda: sweep.sweep(edition.cases, seconds=4, count=edition.singles),
        "pushes-sqlite": partial(_pushes, "sqlite", edition),
        "pushes-postgres": partial(_pushes, "postgres", edition),
        "ticks-sqlite": partial(_ticks, "sqlite", edition),
        "ticks-postgres": partial(_ticks, "postgres", edition),
        "campaigns": partial(_many_campaigns, edition),
        "starts": partial(_starts, edition),
    }
    long: dict[str, Callable[[], Iterator[Row]]] = {
        "scale-out": partial(_scale_out, edition),
        "idle": partial(_idle, edition),
        "fairness": partial(_fairness, edition),
    }
    chosen = both if edition is QUICK else both | long
    return [Part(name=name, limit_s=edition.limit_s, measure=each) for name, each in chosen.items()]


def _changed(row: Row, **values: Any) -> Row:
    return replace(row, **values)
