"""What is seen of each process during a soak, and whether any of it grows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

#: The share of the load that must be kept.
_LEAST_KEPT: Final = 0.95
#: Whose figures are those of everything together.
TOGETHER: Final = "together"
#: By what a figure may grow: a factor, and an amount.
MOST_GROWTH: Final = {
    "MiB": (1.10, 8.0),
    "files": (1.0, 4.0),
    # To PostgreSQL; of the broker those to itself.
    "connections": (1.0, 4.0),
    "bytes a recipient": (1.10, 20.0),
    "log bytes a recipient": (1.10, 0.2),
    # What processes keep on disk for their next start.
    "state KiB": (1.0, 64.0),
    # From a campaign's submission to its last receipt: the last one that is over.
    "s a campaign": (1.25, 3.0),
    "s a pushed campaign": (1.25, 3.0),
    "s a scrape": (1.25, 0.2),
}

#: By whose it is, and by one of the names above.
Figures = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is seen at a time. All samples of a soak have the same figures."""

    at_s: float
    #: Recipients that the provider has accepted so far.
    accepted: int
    figures: Figures

    def __str__(self) -> str:
        words = [f"{self.at_s:6.0f} s: {self.accepted:9,} accepted; MiB"]
        words += [f"{whose} {n:.0f}" for (whose, name), n in self.figures.items() if name == "MiB"]
        words += [
            f"{n:.{_places(name)}f} {name}"
            for (whose, name), n in self.figures.items()
            if whose == TOGETHER
        ]
        return ", ".join(words).replace("MiB,", "MiB:")


def find_growth(samples: Sequence[Sample], *, rate: float) -> list[str]:
    """What has grown between the second quarter of the samples and the last one, in words."""
    found = []
    for (whose, name), (before, after) in _compare_quarters(samples).items():
        factor, amount = MOST_GROWTH[name]
        if after > before * factor + amount:
            found.append(f"{whose}: {name} grew from {before:.1f} to {after:.1f}")
    warm = samples[max(1, len(samples) // 4)]
    seconds = samples[-1].at_s - warm.at_s
    kept = (samples[-1].accepted - warm.accepted) / seconds if seconds else 0.0
    if kept < _LEAST_KEPT * rate:
        found.append(f"{kept:.0f} recipients a second of {rate:.0f} were submitted")
    return found


def show_quarters(samples: Sequence[Sample]) -> Iterator[str]:
    """For each process a line with what it had once it was warm, and what in the end."""
    found = _compare_quarters(samples)
    yield "once warm (second quarter of the time) → in the end (last quarter), medians:"
    for whose in dict.fromkeys(whose for whose, _ in found):
        cells = [
            f"{before:.{_places(name)}f} → {after:.{_places(name)}f} {name}"
            for (other, name), (before, after) in found.items()
            if other == whose
        ]
        yield f"{whose:9} {', '.join(cells)}"


def _compare_quarters(samples: Sequence[Sample]) -> dict[tuple[str, str], tuple[float, float]]:
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    return {
        key: (
            median(each.figures[key] for each in early),
            median(each.figures[key] for each in late),
        )
        for key in samples[0].figures
    }


def _places(name: str) -> int:
    return {"MiB": 0, "files": 0, "connections": 0, "bytes a recipient": 0}.get(name, 2)
