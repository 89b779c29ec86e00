"""The oracle of the promises: what the store may say after each step, by what is known outside it.

It has its own view of the store, in plain SQL. The caller says what
each step may change; the oracle itself knows what must never be.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import (
    IN_FLIGHT,
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
    may_follow,
)
from dispatcher.store.corrections import Correction
from dispatcher.store.engine import Store
from dispatcher.store.tables import ACCOUNT, ATTEMPT, AUDIT, BATCH, CAMPAIGN, MESSAGE, SCHEDULER
from tests.support.stores import assert_counts

#: Campaign and seq.
Key: TypeAlias = tuple[int, int]
Row: TypeAlias = dict[str, Any]
TAKEN = {
    MessageState.SUBMITTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
}
HELD = {BatchState.CLAIMED, BatchState.SUBMITTING}
_STATES = {state.value: state for state in MessageState}


@dataclass(frozen=True)
class Snapshot:
    """The store's rows at one moment, by their keys."""

    messages: Mapping[Key, Row]
    attempts: Mapping[int, Row]
    batches: Mapping[int, Row]
    campaigns: Mapping[int, Row]
    accounts: Mapping[str, Row]
    #: The batch that has each message.
    homes: Mapping[Key, Row]
    schedulers: list[Row]

    def state(self, key: Key) -> MessageState:
        return _STATES[self.messages[key]["state"]]


class Oracle:
    """What was accepted by the provider and decided by people, and what must follow from it."""

    def __init__(self, store: Store, *, max_in_flight: int) -> None:
        self._view = _SqliteView(store) if store.is_sqlite else _PostgresView(store)
        self._max_in_flight = max_in_flight
        #: Steps since the first campaign.
        self.steps = 0
        self.reset()

    def reset(self) -> None:
        """Empty the store, and forget."""
        self._view.empty()
        #: Accepted message ids by message.
        self.ledger: defaultdict[Key, list[str]] = defaultdict(list)
        #: How often a person had a message submitted again while it was in doubt.
        self.resent: Counter[Key] = Counter()
        #: Ids of acceptances that did not arrive, so that a person had the message submitted again.
        self.spent: defaultdict[Key, set[str]] = defaultdict(set)
        self.dropped: set[Key] = set()
        self.assumed: set[Key] = set()
        #: Messages whose acceptance a worker reported, in time or late.
        self.reported: set[Key] = set()
        self.now = self._read()

    def close(self) -> None:
        self._view.close()

    def step(self, *moves: tuple[MessageState, MessageState]) -> tuple[Snapshot, Snapshot]:
        """Check the store after a step that may have made these moves; before, and after it."""
        old, new = self.now, self._read()
        self.steps += 1
        for key in old.messages:
            before, after = old.state(key), new.state(key)
            if before is not after:
                said = f"{key}: {before.label} → {after.label}"
                assert may_follow(before, after), said
                assert (before, after) in moves, f"{said} by a step that must not"
        for batch_id, batch in old.batches.items():
            assert new.batches[batch_id]["fence"] >= batch["fence"], f"batch {batch_id}: fence"
        self._nobody_twice(new)
        self._nobody_lost(new)
        self._who_waits_has_somebody_who_will_come(new)
        assert_counts(new.batches.values(), new.messages.values(), new.attempts.values())
        self.now = new
        return old, new

    def forget(self, campaign_id: int) -> None:
        """The rows of a campaign that never left may go with the next step."""
        assert all(key[0] != campaign_id for key in self.ledger), "it was sent"
        now = self.now
        batches = {n: b for n, b in now.batches.items() if b["campaign_id"] != campaign_id}
        messages = {key: row for key, row in now.messages.items() if key[0] != campaign_id}
        self.now = replace(now, batches=batches, messages=messages)

    def moved(self, old: Snapshot, state: MessageState) -> Iterable[Key]:
        """Messages that were in `state` in `old`, and are not now."""
        return [
            key
            for key in old.messages
            if old.state(key) is state and self.now.state(key) is not state
        ]

    def retried(self, key: Key) -> None:
        """A person had a message submitted again of which the provider said how it ended."""
        self.spent[key].update(self.ledger[key])
        self.reported.discard(key)

    def unspent(self, key: Key) -> list[str]:
        """The ids of a message's acceptances since a person last had it submitted again."""
        return [one for one in self.ledger.get(key, ()) if one not in self.spent[key]]

    def _nobody_twice(self, new: Snapshot) -> None:
        for key in self.ledger:
            ids = self.unspent(key)
            if len(ids) > 1:
                said = f"{key} was accepted {len(ids)} times, {self.resent[key]} by decision"
                assert len(ids) <= 1 + self.resent[key], said
                assert DoubtNote.RESENT in DoubtNote(new.messages[key]["note"] or 0)
        if self.resent:
            resends = f"SELECT 1 FROM {AUDIT.name} WHERE action = 'doubt resend'"
            assert self._view.rows(resends)

    def _nobody_lost(self, new: Snapshot) -> None:
        for key, row in new.messages.items():
            state = new.state(key)
            if self.unspent(key) and not self.resent[key] and key not in self.dropped:
                is_open = new.attempts[row["attempt_id"]]["outcome"] == AttemptOutcome.OPEN
                is_known = state in TAKEN or state is MessageState.IN_DOUBT or is_open
                assert is_known, f"{key} was accepted, and is {state.label}"
            if state in TAKEN and key not in self.assumed:
                assert self.unspent(key), f"{key} is {state.label}, and was never accepted"

    def _who_waits_has_somebody_who_will_come(self, new: Snapshot) -> None:
        """A pending message is in a batch that can be released, or that a lease holds."""
        groups = {
            (b["account"], b["bundle"] or b["id"])
            for b in new.batches.values()
            if b["state"] in IN_FLIGHT
        }
        out = Counter(account for account, _group in groups)
        assert all(n <= self._max_in_flight for n in out.values())
        for key in new.messages:
            batch = new.homes[key]
            if new.state(key) is MessageState.PENDING:
                assert batch["state"] in IN_FLIGHT | {BatchState.PENDING}
                self._is_not_over(new, new.campaigns[key[0]], batch)
        for attempt in new.attempts.values():
            if attempt["outcome"] == AttemptOutcome.OPEN:
                batch = new.batches[attempt["batch_id"]]
                held = (BatchState.SUBMITTING, attempt["fence"])
                assert (batch["state"], batch["fence"]) == held, "a request is out, held by nobody"
        for batch in new.batches.values():
            is_read = new.campaigns[batch["campaign_id"]]["state"] == CampaignState.IMPORTING
            assert not is_read or batch["state"] == BatchState.PENDING, "it leaves half read"
            waits = new.campaigns[batch["campaign_id"]]["recheck_at"] is not None
            assert not (waits and batch["state"] in IN_FLIGHT), "it leaves before it was checked"
            if batch["state"] in IN_FLIGHT | {BatchState.PENDING}:
                self._is_not_over(new, new.campaigns[batch["campaign_id"]], batch)
            assert (batch["state"] in HELD) == (batch["lease_until"] is not None)

    def _is_not_over(self, new: Snapshot, campaign: Any, batch: Any) -> None:
        """A campaign that is over has no work; a cancelled one only what a worker still holds."""
        assert campaign["finished_at"] is None, f"work in campaign {campaign['id']}, which is over"
        if campaign["state"] == CampaignState.CANCELLED:
            assert batch["state"] in HELD, f"batch {batch['id']} of a cancelled campaign waits"
        corrections = "".join(row["corrections"] for row in new.schedulers)
        assert Correction.WORK_AFTER_END not in corrections

    def _read(self) -> Snapshot:
        def rows(table: str) -> list[Row]:
            return self._view.rows(f"SELECT * FROM {table}")

        self._view.begin()
        try:
            batches = rows(BATCH.name)
            homes = {
                (batch["campaign_id"], seq): batch
                for batch in batches
                for seq in range(batch["first_seq"], batch["first_seq"] + batch["size"])
            }
            snapshot = Snapshot(
                messages={(row["campaign_id"], row["seq"]): row for row in rows(MESSAGE.name)},
                attempts={row["id"]: row for row in rows(ATTEMPT.name)},
                batches={row["id"]: row for row in batches},
                campaigns={row["id"]: row for row in rows(CAMPAIGN.name)},
                accounts={row["name"]: row for row in rows(ACCOUNT.name)},
                homes=homes,
                schedulers=rows(SCHEDULER.name),
            )
        finally:
            self._view.end()
        assert homes.keys() == snapshot.messages.keys()
        assert len(homes) == sum(batch["size"] for batch in batches), "batches overlap"
        return snapshot


class _SqliteView:
    """A SQLite store's file, read and emptied without the program's own code."""

    def __init__(self, store: Store) -> None:
        self._conn = sqlite3.connect(store.url.database or "", isolation_level=None)
        self._conn.row_factory = sqlite3.Row

    def rows(self, query: str) -> list[Row]:
        return [dict(row) for row in self._conn.execute(query).fetchall()]

    def begin(self) -> None:
        self._conn.execute("BEGIN")

    def end(self) -> None:
        self._conn.execute("COMMIT")

    def empty(self) -> None:
        names = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        self._conn.execute("BEGIN IMMEDIATE")
        for name in [row["name"] for row in names if row["name"] != "alembic_version"]:
            self._conn.execute(f"DELETE FROM {name}")
        self._conn.execute("COMMIT")

    def close(self) -> None:
        self._conn.close()


class _PostgresView:
    """The same of a PostgreSQL database."""

    def __init__(self, store: Store) -> None:
        url = store.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._conn = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def rows(self, query: str) -> list[Row]:
        return self._conn.execute(query).fetchall()

    def begin(self) -> None:
        self._conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")

    def end(self) -> None:
        self._conn.execute("COMMIT")

    def empty(self) -> None:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        names = [row["tablename"] for row in self.rows(query)]
        tables = ", ".join(name for name in names if name != "alembic_version")
        self._conn.execute(f"TRUNCATE {tables} RESTART IDENTITY")

    def close(self) -> None:
        self._conn.close()
