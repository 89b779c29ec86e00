"""Checks of clocks: this machine's, the store's, the broker's and the workers'."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from dispatcher.doctor.result import CheckResult
from dispatcher.store.clocks import clock_lead_s
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rows import WorkerRow

#: Seconds between two clocks: windows are kept to the second, leases survive much more.
_SKEW_S: Final = 1.0
_LARGE_SKEW_S: Final = 10.0


def check_clocks(
    store: Store, broker_ahead_s: float | None, own_now: Callable[[], datetime] | None = None
) -> Iterator[CheckResult]:
    """Whether this machine's clock, the store's and the broker's agree.

    `broker_ahead_s` is how far this machine's is ahead of the broker's; None: not known.
    """
    own = own_now or (lambda: datetime.now(UTC))
    with store.read() as conn:
        asked_at = own()
        at = store_now(conn)
        answered_at = own()
    others = {"the store's": clock_lead_s(at, asked_at=asked_at, answered_at=answered_at)}
    if broker_ahead_s is not None:
        others["the broker's"] = broker_ahead_s
    differing = {name: ahead_s for name, ahead_s in others.items() if _differs(ahead_s)}
    for name, ahead_s in differing.items():
        yield _skew_result("this machine's clock", ahead_s, name)
    if not differing:
        what = f"this machine's clock agrees with {' and '.join(others)}"
        yield CheckResult(part="clocks", ok=True, what=what)


def check_worker_clock(worker: WorkerRow) -> Iterator[CheckResult]:
    """Whether a worker's clock agrees with the store's."""
    ahead_s = (worker.clock_ms or 0) / 1000
    if _differs(ahead_s):
        yield _skew_result(f"the clock of {worker.name}", ahead_s, "the store's")


def _differs(ahead_s: float) -> bool:
    return abs(ahead_s) >= _SKEW_S


def _skew_result(whose: str, ahead_s: float, other: str) -> CheckResult:
    direction = "ahead of" if ahead_s > 0 else "behind"
    return CheckResult(
        part="clocks",
        ok=abs(ahead_s) < _LARGE_SKEW_S,
        is_warning=True,
        what=f"{whose} is {abs(ahead_s):.1f} s {direction} {other}",
        remedy="let every machine take its time from the same servers (NTP)",
    )
