"""How long deliveries took: from the request to the receipt, as a histogram and percentiles."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.store.report_figures import DelayCount

#: The upper ends of the histogram's classes, in seconds.
_CLASSES: Final = (
    2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10_800, 43_200, 86_400, 259_200,
)  # fmt: skip
_PERCENTILES: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayFigures:
    """Delivered messages by class of delay, and the delay that a share of them did not exceed."""

    delivered: int
    classes: Sequence[tuple[str, int]]
    percentiles_s: Mapping[int, int]


def build_delays(rows: Iterable[DelayCount]) -> DelayFigures:
    """Figures from delays in seconds. Classes before the first and after the last are left out."""
    counts = Counter[int]()
    for row in rows:
        counts[max(row.seconds, 0)] += row.n
    bounds = [*_CLASSES, None]
    sums = [0] * len(bounds)
    for seconds, count in counts.items():
        place = next((i for i, end in enumerate(_CLASSES) if seconds < end), len(_CLASSES))
        sums[place] += count
    filled = [i for i, count in enumerate(sums) if count]
    shown = range(filled[0], filled[-1] + 1) if filled else range(0)
    return DelayFigures(
        delivered=counts.total(),
        classes=[(_class_name(bounds[i]), sums[i]) for i in shown],
        percentiles_s={percent: _percentile(counts, percent) for percent in _PERCENTILES}
        if counts
        else {},
    )


def format_delay(seconds: int) -> str:
    """`45 s`, `5 min`, `3 h`, `2 days`, in the unit that leaves a small number."""
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s or (seconds >= unit_s and seconds % unit_s == 0):
            count = f"{seconds / unit_s:.1f}".removesuffix(".0")
            return f"{count} {unit if unit != 'days' or count != '1' else 'day'}"
    return f"{seconds} s"


def _class_name(end: int | None) -> str:
    return f"< {format_delay(end)}" if end is not None else f"≥ {format_delay(_CLASSES[-1])}"


def _percentile(counts: Counter[int], percent: int) -> int:
    wanted, seen = counts.total() * percent / 100, 0
    for seconds in sorted(counts):
        seen += counts[seconds]
        if seen >= wanted:
            return seconds
    return 0
