"""Recipients of campaigns that are over: read when such a campaign changes, else remembered."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from dispatcher.store import metric_figures
from dispatcher.store.metric_figures import RecipientSums

#: A late answer changes a campaign that is over without a trace: all are read again now and then.
_REREAD: Final = timedelta(hours=1)

AccountCounts = Mapping[str, Counter[str]]


class EndedCampaigns:
    """Sums over campaigns that are over. Not thread-safe."""

    def __init__(self) -> None:
        self._ends: dict[int, object] = {}
        self._sums: dict[int, list[RecipientSums]] = {}
        self._total: dict[str, Counter[str]] = {}
        self._read_at: datetime | None = None

    def count_recipients(
        self, conn: Connection, now: datetime, *, but: Collection[int]
    ) -> AccountCounts:
        """Messages of campaigns that are over, by account and state.

        Without the campaigns `but`, which were open a moment ago, and are counted there.
        """
        ends = {one: at for one, at in metric_figures.list_ends(conn).items() if one not in but}
        if self._read_at is None or not self._read_at <= now < self._read_at + _REREAD:
            self._ends, self._sums, self._read_at = {}, {}, now
        changed = {one for one, at in ends.items() if self._ends.get(one) != at}
        changed |= {one for one in self._sums if self._is_in_doubt(one)} & ends.keys()
        gone = self._sums.keys() - ends.keys()
        if changed:
            found = defaultdict(list)
            for row in metric_figures.sum_ended_recipients(conn, changed):
                found[row.campaign_id].append(row)
            for one in changed:
                self._sums[one] = found[one]
        for one in gone:
            del self._sums[one]
        if changed or gone:
            self._total = add_by_account(row for rows in self._sums.values() for row in rows)
        self._ends = ends
        return self._total

    def _is_in_doubt(self, campaign_id: int) -> bool:
        return any(row.in_doubt for row in self._sums[campaign_id])


def add_by_account(rows: Iterable[RecipientSums]) -> dict[str, Counter[str]]:
    """The sums of the rows by account and state."""
    counted = defaultdict(list)
    for row in rows:
        counted[row.account].append(row[2:])
    # A column at a time: there may be thousands of rows.
    sums = {name: map(sum, zip(*counts, strict=True)) for name, counts in counted.items()}
    states = RecipientSums._fields[2:]
    return {name: Counter(dict(zip(states, each, strict=True))) for name, each in sums.items()}
