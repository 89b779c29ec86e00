"""Requests to providers, counted since this process started: a scrape reads only newer rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from dispatcher.status import AttemptOutcome
from dispatcher.store import metric_figures
from dispatcher.store.metric_figures import DURATION_EDGES_S, RequestSums

#: A transaction that began a request with a lower id has ended after this time.
_SETTLES: Final = timedelta(seconds=10)


@dataclass(slots=True)
class Durations:
    """Durations of one kind: how many up to each edge and above the last, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_EDGES_S) + 1))
    total_s: float = 0.0

    def add(self, others: "Durations") -> None:
        """Count these others too."""
        self.counts = [n + more for n, more in zip(self.counts, others.counts, strict=True)]
        self.total_s += others.total_s


@dataclass(slots=True)
class RequestCounts:
    """Counts by account, and by (account, outcome, error)."""

    begun: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    durations: dict[str, Durations] = field(default_factory=dict)
    delays: dict[str, Durations] = field(default_factory=dict)

    def add_rows(self, rows: Sequence[RequestSums]) -> None:
        """Count these requests too."""
        for row in rows:
            self.begun[row.account] += row.n
            self.recipients[row.account] += row.recipients
            if row.delay is not None:
                _add(self.delays, row.account, row.delay, row.n, row.delay_s)
            if row.outcome == AttemptOutcome.OPEN:
                continue
            outcome = AttemptOutcome(row.outcome)
            self.ended[row.account, outcome.label, _class_of(outcome, row.error_code)] += row.n
            if row.duration is not None and outcome is not AttemptOutcome.NOT_SENT:
                _add(self.durations, row.account, row.duration, row.n, row.duration_s)

    def copy_with(self, rows: Sequence[RequestSums]) -> "RequestCounts":
        """These counts and the rows, as counts of their own."""
        copied = RequestCounts(
            Counter(self.begun),
            Counter(self.recipients),
            Counter(self.ended),
            {name: Durations([*one.counts], one.total_s) for name, one in self.durations.items()},
            {name: Durations([*one.counts], one.total_s) for name, one in self.delays.items()},
        )
        copied.add_rows(rows)
        return copied


class RequestTally:
    """Counts requests from the first call on. Not thread-safe.

    What may still change is read again each time, what is settled never again.
    """

    def __init__(self) -> None:
        self._after: int | None = None
        self._settled = RequestCounts()
        self._last_delays: dict[str, Durations] = {}
        self._lost_delays: dict[str, Durations] = {}

    def count_requests(self, conn: Connection, now: datetime) -> RequestCounts:
        """All requests that began since the first call."""
        if self._after is None:
            self._after = metric_figures.newest_request(conn)
        found = metric_figures.find_request_range(conn, self._after, now - _SETTLES)
        if found.newest is None:
            return self._add_lost_delays(self._settled.copy_with([]))
        first = found.first_unsettled or found.newest + 1
        rows = metric_figures.sum_requests(conn, self._after, first)
        self._settled.add_rows([row for row in rows if row.is_settled])
        self._after = first - 1
        unsettled = [row for row in rows if not row.is_settled]
        return self._add_lost_delays(self._settled.copy_with(unsettled))

    def _add_lost_delays(self, counts: RequestCounts) -> RequestCounts:
        """Add to the counts the delays of earlier calls that the store no longer knows.

        It keeps only the last release of a batch. A counter that fell would look like a restart,
        after which Prometheus counts everything once more.
        """
        for name, last in self._last_delays.items():
            now = counts.delays.get(name, Durations())
            lost = self._lost_delays.setdefault(name, Durations())
            gone = [max(0, n - left) for n, left in zip(last.counts, now.counts, strict=True)]
            lost.add(Durations(gone, max(0.0, last.total_s - now.total_s)))
        self._last_delays = counts.copy_with([]).delays
        for name, lost in self._lost_delays.items():
            counts.delays.setdefault(name, Durations()).add(lost)
        return counts


def _add(
    places: dict[str, Durations], account: str, edge: int, n: int, sum_s: float | None
) -> None:
    one = places.setdefault(account, Durations())
    one.counts[edge] += n
    one.total_s += sum_s or 0.0


def _class_of(outcome: AttemptOutcome, code: str | None) -> str:
    """One of six words for what a provider answered; codes have no limit, labels need one."""
    if outcome in {AttemptOutcome.ANSWERED, AttemptOutcome.NOT_SENT}:
        return "none"
    if code is None:
        return "no_answer"
    if code == "429":
        return "http_429"
    if len(code) == 3 and code.isdecimal() and code[0] in "45":
        return f"http_{code[0]}xx"
    return "provider_code"
