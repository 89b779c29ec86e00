"""The oracle of the promises: what the store may say after each step, by what is known outside it.

It has its own view of the store: the SQLite file, in plain SQL. What each step may change is told
to it by whoever makes the step; what may never be is its own to know.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import (
    IN_FLIGHT,
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
    may_follow,
)
from dispatcher.store.tables import ACCOUNT, ATTEMPT, AUDIT, BATCH, CAMPAIGN, MESSAGE
from tests.support.stores import assert_counts

#: Campaign and seq.
Key: TypeAlias = tuple[int, int]
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

    messages: Mapping[Key, sqlite3.Row]
    attempts: Mapping[int, sqlite3.Row]
    batches: Mapping[int, sqlite3.Row]
    campaigns: Mapping[int, sqlite3.Row]
    accounts: Mapping[str, sqlite3.Row]
    #: The batch that has each message.
    homes: Mapping[Key, sqlite3.Row]

    def state(self, key: Key) -> MessageState:
        return _STATES[self.messages[key]["state"]]


class Oracle:
    """What was accepted by the provider and decided by people, and what must follow from it."""

    def __init__(self, path: Path, *, max_in_flight: int) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.row_factory = sqlite3.Row
        self._max_in_flight = max_in_flight
        #: Steps since the first campaign.
        self.steps = 0
        self.reset()

    def reset(self) -> None:
        """Empty the store, and forget."""
        with closing(
            self._conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ) as c:
            names = [row["name"] for row in c if row["name"] != "alembic_version"]
        self._conn.execute("BEGIN IMMEDIATE")
        for name in names:
            self._conn.execute(f"DELETE FROM {name}")
        self._conn.execute("COMMIT")
        #: Accepted message ids by message.
        self.ledger: defaultdict[Key, list[str]] = defaultdict(list)
        #: How often a person had a message submitted again.
        self.resent: Counter[Key] = Counter()
        self.dropped: set[Key] = set()
        self.assumed: set[Key] = set()
        self.now = self._read()

    def close(self) -> None:
        self._conn.close()

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

    def moved(self, old: Snapshot, state: MessageState) -> Iterable[Key]:
        """Messages that were in `state` in `old`, and are not now."""
        return [
            key
            for key in old.messages
            if old.state(key) is state and self.now.state(key) is not state
        ]

    def _nobody_twice(self, new: Snapshot) -> None:
        for key, ids in self.ledger.items():
            if len(ids) > 1:
                said = f"{key} was accepted {len(ids)} times, {self.resent[key]} by decision"
                assert len(ids) <= 1 + self.resent[key], said
                assert DoubtNote.RESENT in DoubtNote(new.messages[key]["note"] or 0)
        if self.resent:
            resends = f"SELECT 1 FROM {AUDIT.name} WHERE action = 'doubt resend'"
            assert self._conn.execute(resends).fetchone() is not None

    def _nobody_lost(self, new: Snapshot) -> None:
        for key, row in new.messages.items():
            state = new.state(key)
            if self.ledger.get(key) and not self.resent[key] and key not in self.dropped:
                is_open = new.attempts[row["attempt_id"]]["outcome"] == AttemptOutcome.OPEN
                is_known = state in TAKEN or state is MessageState.IN_DOUBT or is_open
                assert is_known, f"{key} was accepted, and is {state.label}"
            if state in TAKEN and key not in self.assumed:
                assert self.ledger.get(key), f"{key} is {state.label}, and was never accepted"

    def _who_waits_has_somebody_who_will_come(self, new: Snapshot) -> None:
        """What is pending stands in a batch that can be released, or is held under a lease."""
        out = Counter(b["account"] for b in new.batches.values() if b["state"] in IN_FLIGHT)
        assert all(n <= self._max_in_flight for n in out.values())
        for key in new.messages:
            batch = new.homes[key]
            if new.state(key) is MessageState.PENDING:
                assert batch["state"] in IN_FLIGHT | {BatchState.PENDING}
                over = new.campaigns[key[0]]["state"] == CampaignState.FINISHED
                assert not over, f"{key} is pending in a campaign that is over"
        for attempt in new.attempts.values():
            if attempt["outcome"] == AttemptOutcome.OPEN:
                batch = new.batches[attempt["batch_id"]]
                held = (BatchState.SUBMITTING, attempt["fence"])
                assert (batch["state"], batch["fence"]) == held, "a request is out, held by nobody"
        for batch in new.batches.values():
            assert (batch["state"] in HELD) == (batch["lease_until"] is not None)

    def _read(self) -> Snapshot:
        def rows(table: str) -> list[sqlite3.Row]:
            return self._conn.execute(f"SELECT * FROM {table}").fetchall()

        self._conn.execute("BEGIN")
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
            )
        finally:
            self._conn.execute("COMMIT")
        assert homes.keys() == snapshot.messages.keys()
        assert len(homes) == sum(batch["size"] for batch in batches), "batches overlap"
        return snapshot
