"""Recipients of campaigns that are over: read when such a campaign changes, else remembered."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from dispatcher.store import recipient_figures
from dispatcher.store.recipient_figures import RecipientSums

#: A late answer changes a campaign that is over without a trace: all are read again now and then.
_REREAD: Final = timedelta(hours=1)

AccountCounts = Mapping[str, Counter[str]]


class EndedCampaigns:
    """Sums over campaigns that are over. Not thread-safe."""

    def __init__(self) -> None:
        self._forget(None)

    def _forget(self, now: datetime | None) -> None:
        self._ends: set[tuple[int, object]] = set()
        self._sums: dict[int, list[RecipientSums]] = {}
        self._in_doubt: set[int] = set()
        self._total: dict[str, Counter[str]] = {}
        self._read_at = now

    def count_recipients(self, conn: Connection, now: datetime) -> AccountCounts:
        """Messages of campaigns that are over, by account and state."""
        if self._read_at is None or not self._read_at <= now < self._read_at + _REREAD:
            self._forget(now)
        ends = recipient_figures.list_ends(conn)
        changed = {one for one, _at in ends - self._ends}
        gone = {one for one, _at in self._ends - ends} - changed
        self._ends = ends
        changed |= self._in_doubt - gone
        if not changed and not gone:
            return self._total
        found = recipient_figures.sum_ended_recipients(conn, changed) if changed else {}
        old = [row for one in changed | gone for row in self._sums.pop(one, ())]
        new = {one: found.get(one, []) for one in changed}
        self._sums.update(new)
        self._in_doubt -= gone | changed
        self._in_doubt |= {one for one, rows in new.items() if any(row.in_doubt for row in rows)}
        rows = [row for each in new.values() for row in each]
        for name, counts in add_by_account(rows).items():
            self._total.setdefault(name, Counter()).update(counts)
        for name, counts in add_by_account(old).items():
            self._total[name].subtract(counts)
        return self._total


def add_by_account(rows: Iterable[RecipientSums]) -> dict[str, Counter[str]]:
    """The sums of the rows by account and state."""
    counted = defaultdict(list)
    for row in rows:
        counted[row.account].append(row[1:])
    # A column at a time: there may be thousands of rows.
    sums = {name: map(sum, zip(*counts, strict=True)) for name, counts in counted.items()}
    states = RecipientSums._fields[1:]
    return {name: Counter(dict(zip(states, each, strict=True))) for name, each in sums.items()}
