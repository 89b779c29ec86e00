"""The rates of a chaos run: what arrived at the provider, against `requests_per_second`.

An account's rate counts its submissions and its polls. In any second at most so much may arrive:

- the rate;
- one more per worker process: each sees only its own requests (`pacing.RateWindow`);
- what the provider took in late. A ping measures how long its process answered nobody: what
  arrived in that time is stamped together;
- near a blow to a worker (a kill, a stop, an end): what one process may have begun before its
  starts, `LEAD_S` of the rate, and one more. Another process goes on with the starts on record,
  and does not know how late the first one kept them.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Final, Self

from dispatcher.policy.pacing import LEAD_S
from tests.support.simulator import SimulatorProcess

#: One request more in any second, for each process that keeps the starts.
_PROCESSES: Final = 2
#: Seconds for which a blow explains lateness: its requests' first bytes, and the second itself.
_AFTER_BLOW_S: Final = 2.0
_PING_EVERY_S: Final = 0.1
#: The simulator keeps the last 10,000 arrivals of each path.
_COLLECT_EVERY_S: Final = 15.0
#: A ping takes so long on a machine with other work; more is lateness.
_USUAL_PING_S: Final = 0.01
#: Floats: 1.2 - 0.2 is not 1.
_EPSILON_S: Final = 1e-9
#: The command line's calls, which check sender and template before a submission and pay no rate.
_COMMAND_PATHS: Final = ("/get-sender-id", "/get-templates")


@dataclass(frozen=True, slots=True)
class Stall:
    """From when to when (Unix time) a process did nothing, or may have been late."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Busiest:
    """The second in which most arrived, by how much it passes what is allowed."""

    began: float
    arrived: int
    allowed: float

    @property
    def excess(self) -> float:
        return self.arrived - self.allowed


def find_busiest(
    arrivals: Iterable[float],
    per_second: float,
    *,
    lags: Sequence[Stall] = (),
    blows: Sequence[Stall] = (),
) -> Busiest | None:
    """The half-open second that passes its bound by most; None without arrivals."""
    given = sorted(arrivals)
    found: Busiest | None = None
    first = 0
    for last, at in enumerate(given):
        while given[first] <= at - 1 + _EPSILON_S:
            first += 1
        arrived, began = last - first + 1, given[first]
        if found is not None and arrived - per_second <= found.excess:
            continue
        allowed = allow_in_second(began, per_second, lags=lags, blows=blows)
        if found is None or arrived - allowed > found.excess:
            found = Busiest(began, arrived, allowed)
    return found


def allow_in_second(
    began: float, per_second: float, *, lags: Sequence[Stall], blows: Sequence[Stall]
) -> float:
    """How much may arrive in the second from `began` on."""
    late_s = sum(lag.seconds for lag in _overlapping(lags, began, began + 1))
    is_struck = any(_overlapping(blows, began - _AFTER_BLOW_S, began + 1))
    begun = ceil(per_second * LEAD_S) + 1 if is_struck else 0
    return per_second + _PROCESSES + per_second * late_s + begun


def _overlapping(stalls: Sequence[Stall], began: float, ended: float) -> list[Stall]:
    return [stall for stall in stalls if stall.began < ended and stall.ended > began]


def judge_rates(
    arrivals: Mapping[str, Collection[float]],
    rates: Mapping[str, float],
    *,
    lags: Sequence[Stall],
    blows: Sequence[Stall],
) -> tuple[list[str], dict[str, Busiest]]:
    """Sentences about the providers that got more than allowed; and each one's busiest second."""
    wrong, busiest = [], {}
    for name, per_second in rates.items():
        found = find_busiest(arrivals.get(name, ()), per_second, lags=lags, blows=blows)
        if found is None:
            continue
        busiest[name] = found
        if found.excess > 0:
            wrong.append(
                f"{name} got {found.arrived} requests in the second from {found.began:.3f} on; "
                f"{found.allowed:.1f} are allowed at {per_second:g} a second"
            )
    return wrong, busiest


class Meter:
    """Collects what arrives at the simulator, and measures how late its process is."""

    def __init__(self, provider: SimulatorProcess) -> None:
        self._provider = provider
        self._arrivals = defaultdict[str, set[tuple[str, float]]](set)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter")
        self.lags: list[Stall] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.collect()

    @property
    def arrivals(self) -> dict[str, list[float]]:
        """When requests that pay a rate arrived, by the provider's path name; Unix times."""
        return {
            name: sorted(at for path, at in seen if not path.endswith(_COMMAND_PATHS))
            for name, seen in self._arrivals.items()
        }

    @property
    def paths(self) -> dict[str, int]:
        """How many requests arrived at each path."""
        counts: dict[str, int] = defaultdict(int)
        for seen in self._arrivals.values():
            for path, _at in seen:
                counts[path] += 1
        return dict(counts)

    def collect(self) -> None:
        """Read the simulator's arrivals before it forgets them."""
        for path, seen in self._provider.stats()["requests"].items():
            name = path.split("/")[1] if path.startswith("/") else path
            self._arrivals[name].update((path, wall) for _monotonic, wall in seen["arrivals"])

    def _run(self) -> None:
        collect_at = time.monotonic() + _COLLECT_EVERY_S
        while not self._stopping.wait(_PING_EVERY_S):
            began = time.time()
            with suppress(OSError):
                self._provider.faults()
            if (took := time.time() - began) > _USUAL_PING_S:
                self.lags.append(Stall(began, began + took))
            if time.monotonic() >= collect_at:
                self.collect()
                collect_at = time.monotonic() + _COLLECT_EVERY_S
