"""What a machine can carry, computed from measured inputs: the tables of deploy/capacity.md.

    python -m tests.benchmarks.capacity [--write]

The inputs are below, measured by `python -m tests.benchmarks.costs`. Measure again, change them,
and write the page anew; a test compares it with what this prints.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from tests.benchmarks.table import write_into

PAGE: Final = Path(__file__).parents[2] / "deploy" / "capacity.md"
MEASURED_ON: Final = (
    "2026-11-29, on 2 cores shared by provider, workers and store, beside other work (load 17), "
    "Python 3.11, PostgreSQL 18: an idle machine spends less"
)
#: A day's messages are sent within business hours.
_SENDING_S: Final = 10 * 3600
#: No part should be busier than this on average: peaks, vacuum, backups.
_BUSY: Final = 0.6


@dataclass(frozen=True, slots=True)
class Input:
    """A measured figure: what it is, its value and unit, and the command that measures it."""

    what: str
    value: float
    unit: str
    by: str


BULK_WORKER: Final = Input(
    "workers, 2,000 recipients a request, with receipts", 68, "µs a recipient", "`costs`, 40,000"
)
SINGLE_WORKER: Final = Input(
    "workers, one recipient a request, without receipts", 1692, "µs a recipient", "`costs`, 4,000"
)
BULK_STORE: Final = Input(
    "PostgreSQL, 2,000 recipients a request", 37, "µs a recipient", "`costs`, 40,000"
)
SINGLE_STORE: Final = Input(
    "PostgreSQL, one recipient a request", 783, "µs a recipient", "`costs`, 4,000"
)
BULK_BYTES: Final = Input(
    "tables and indexes, 2,000 recipients a request", 450, "bytes a recipient", "`costs`, 40,000"
)
SINGLE_BYTES: Final = Input(
    "tables and indexes, one recipient a request", 645, "bytes a recipient", "`costs`, 4,000"
)
TASKS: Final = Input(
    "Celery and one Redis", 1000, "tasks a second", "tasks that do nothing, two cores"
)
INPUTS: Final = (
    BULK_WORKER, SINGLE_WORKER, BULK_STORE, SINGLE_STORE, BULK_BYTES, SINGLE_BYTES, TASKS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A kind of traffic."""

    name: str
    worker: Input
    store: Input
    size: Input
    #: Recipients of one Celery task.
    per_task: int


LOADS: Final = (
    Load(name="bulk", worker=BULK_WORKER, store=BULK_STORE, size=BULK_BYTES, per_task=2000),
    Load(
        name="one by one", worker=SINGLE_WORKER, store=SINGLE_STORE, size=SINGLE_BYTES,
        per_task=200,
    ),
)  # fmt: skip
DAYS: Final = (10_000_000, 100_000_000, 1_000_000_000)


def cores(us_each: float, a_day: int) -> float:
    """Cores that are busy with it during the hours of sending."""
    return us_each * a_day / 1e6 / _SENDING_S


def most_a_day(load: Load, store_cores: int) -> int:
    """How many recipients a day one PostgreSQL of so many cores carries."""
    return int(store_cores * _BUSY * _SENDING_S * 1e6 / load.store.value)


def cost_rows() -> Iterator[Sequence[str]]:
    """What a million recipients cost."""
    for load in LOADS:
        yield (
            load.name,
            f"{load.worker.value:,.0f} s",
            f"{load.store.value:,.0f} s",
            f"{load.size.value * 1e6 / 2**30:.2f} GiB",
            f"{1e6 / load.per_task:,.0f}",
        )


def day_rows() -> Iterator[Sequence[str]]:
    """What so many a day need."""
    for load in LOADS:
        for a_day in DAYS:
            tasks = a_day / load.per_task / _SENDING_S
            stores = max(1, ceil(a_day / most_a_day(load, 16)))
            yield (
                f"{a_day / 1e6:,.0f}M, {load.name}",
                f"{a_day / _SENDING_S:,.0f}/s",
                f"{max(1, ceil(cores(load.worker.value, a_day) / _BUSY)):,}",
                f"{cores(load.store.value, a_day) / _BUSY:,.1f}",
                f"{stores}",
                f"{load.size.value * a_day * 30 / 2**40:,.2f} TiB",
                f"{max(1, ceil(tasks / _BUSY / TASKS.value))}",
            )


def as_text() -> str:
    """The inputs and the two tables, as Markdown."""
    inputs = [(one.what, f"{one.value:,.0f} {one.unit}", one.by) for one in INPUTS]
    parts = [
        f"Measured on {MEASURED_ON}.",
        _table(("input", "value", "measured by"), inputs),
        _table(
            ("a million recipients", "workers' processor time", "PostgreSQL's", "tables", "tasks"),
            cost_rows(),
        ),
        _table(
            (
                "a day", "in 10 hours", "worker cores", "PostgreSQL cores", "PostgreSQL servers",
                "30 days of tables", "Redis servers",
            ),
            day_rows(),
        ),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _table(titles: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Print the tables; with --write put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        write_into(PAGE, "capacity", as_text())
    print(as_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
