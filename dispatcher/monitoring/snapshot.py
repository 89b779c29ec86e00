"""Everything that one scrape shows, read in one transaction with a fixed number of statements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from dispatcher.config.settings import Settings
from dispatcher.errors import StoreError
from dispatcher.monitoring.ended_campaigns import AccountCounts, EndedCampaigns, add_by_account
from dispatcher.monitoring.request_counts import RequestCounts, RequestTally
from dispatcher.outbound.release import open_zones
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import ACCEPTED
from dispatcher.store import (
    accounts,
    corrections,
    due_work,
    metric_figures,
    push_counts,
    recipient_figures,
    scheduler,
    stops,
)
from dispatcher.store.corrections import Correction
from dispatcher.store.engine import Store, store_now
from dispatcher.store.metric_figures import (
    BatchCount,
    CampaignCount,
    DoubtfulCount,
    DuePollCount,
)
from dispatcher.store.migrate import read_revision
from dispatcher.store.push_counts import PushCountRow
from dispatcher.store.push_urls import list_push_urls
from dispatcher.store.rows import AccountRow, WorkerRow


@dataclass(frozen=True, slots=True)
class DueWork:
    """Recipients of an account that could leave now, and since when the first of them could."""

    recipients: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the store says at `now`. Accounts are those configured, and those with a row."""

    now: datetime
    revision: str | None
    accounts: Mapping[str, AccountRow | None]
    is_stopped: bool
    recipients: AccountCounts
    submitted: Mapping[str, int]
    due: Mapping[str, DueWork]
    campaigns: Sequence[CampaignCount]
    batches: Sequence[BatchCount]
    polls: Sequence[DuePollCount]
    doubts: Sequence[DoubtfulCount]
    requests: RequestCounts
    corrections: Mapping[Correction, int]
    pushes: Sequence[PushCountRow]
    #: Those that have a URL for their provider to push to.
    push_accounts: frozenset[str]
    waiting_receipts: Mapping[str, int]
    tick_at: datetime | None
    workers: Sequence[WorkerRow]


class SnapshotReader:
    """Reads snapshots of a store; keeps what counters need between them. Not thread-safe."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._ended = EndedCampaigns()
        self._requests = RequestTally()
        self._taken_back: Counter[str] = Counter()
        self._former_id = 0
        self._submitted: Counter[str] = Counter()

    def read_snapshot(self) -> Snapshot:
        """Read everything. Raises StoreError."""
        self._check_file()
        # One snapshot: a campaign that ends meanwhile is in the open sums or in the ended ones.
        with self._store.read(one_snapshot=True) as conn:
            now = store_now(conn)
            open_counts = add_by_account(recipient_figures.sum_open_recipients(conn))
            recipients = _merge(open_counts, self._ended.count_recipients(conn, now))
            known = accounts.all_accounts(conn)
            lease = timedelta(seconds=self._settings.worker.lease_s)
            names = sorted({*self._settings.accounts, *known})
            return Snapshot(
                now=now,
                revision=read_revision(conn),
                accounts={name: known.get(name) for name in names},
                is_stopped=stops.find_general_stop(conn) is not None,
                recipients=recipients,
                submitted=self._count_submitted(conn, recipients),
                due=self._find_due(conn, known, now),
                campaigns=metric_figures.count_open_campaigns(conn),
                batches=metric_figures.count_batches_in_flight(conn),
                polls=metric_figures.count_due_polls(conn, now),
                doubts=metric_figures.count_doubtful_requests(conn),
                requests=self._requests.count_requests(conn, now),
                corrections=corrections.load_corrections(conn),
                pushes=push_counts.load_push_counts(conn),
                push_accounts=frozenset(row.account for row in list_push_urls(conn)),
                waiting_receipts=push_counts.count_waiting_receipts(conn),
                tick_at=scheduler.last_tick_at(conn),
                workers=scheduler.list_workers(conn, now - lease),
            )

    def _check_file(self) -> None:
        """Who only reads must not make a file: a new store would be without its witness."""
        path = self._store.url.database
        if self._store.is_sqlite and not Path(path or "").exists():
            raise StoreError(f"the store {self._store.name} does not exist", "check `store.url`")

    def _count_submitted(self, conn: Connection, recipients: AccountCounts) -> Mapping[str, int]:
        """Acceptances so far, with those before a retry: a counter must never fall."""
        for row in metric_figures.count_former_acceptances(conn, self._former_id):
            self._taken_back[row.account] += row.n
            self._former_id = max(self._former_id, row.newest)
        for name in {*recipients, *self._taken_back}:
            counts = recipients.get(name, Counter[str]())
            accepted = sum(counts[state.label] for state in ACCEPTED) + self._taken_back[name]
            self._submitted[name] = max(self._submitted[name], accepted)
        return self._submitted

    def _find_due(
        self, conn: Connection, known: Mapping[str, AccountRow], now: datetime
    ) -> Mapping[str, DueWork]:
        due: dict[str, DueWork] = {}
        for campaigns in due_work.sum_waiting(conn, now):
            name = campaigns.account
            settings = self._settings.accounts.get(name)
            if settings is not None and not (
                is_open(known.get(name), settings, now)
                and open_zones(settings, campaigns, now) != []
            ):
                continue
            so_far = due.get(name, DueWork(0, campaigns.since))
            due[name] = DueWork(
                so_far.recipients + campaigns.pending, min(so_far.since, campaigns.since)
            )
        return due


def is_open(row: AccountRow | None, settings: ProviderSettings | None, now: datetime) -> bool:
    """Whether an account sends at full speed: not stopped, asked to wait, or done for the day."""
    if row is None:
        return True
    if row.is_closed or row.breaker is not None:
        return False
    if row.not_before is not None and row.not_before > now:
        return False
    limit = settings.daily_limit if settings is not None else None
    return accounts.messages_left_today(row, limit, now) != 0


def _merge(some: AccountCounts, others: AccountCounts) -> AccountCounts:
    merged = {name: Counter(counts) for name, counts in some.items()}
    for name, counts in others.items():
        merged.setdefault(name, Counter()).update(counts)
    return merged
