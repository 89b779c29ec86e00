"""Adoption: a person decides what to do with a store that disagrees with its witnesses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.store import store_adoption, store_identity
from dispatcher.store.audit import current_person
from dispatcher.store.engine import Store, store_now
from dispatcher.store.row_parts import PendingCampaign

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """The result of comparing a store with its witnesses.

    `held`: why nothing is released. `is_behind`: the store is surely an older copy. `waiting`: id,
    name and pending messages of the campaigns that would be sent.
    """

    held: str | None
    is_behind: bool
    waiting: Sequence[PendingCampaign]


def check_store(store: Store, client: "redis.Redis | None") -> StoreCheck:
    """Compare the store with every witness, and store the result."""
    guard = RollbackGuard(store, client=client)
    remembered = guard.read_redis_mark()
    with store.write() as conn:
        held = guard.check_and_hold(conn, remembered=remembered)
        row = store_identity.ensure_identity(conn)
        return StoreCheck(
            held=held,
            is_behind=row.witnessed_id > row.attempt_id,
            waiting=store_adoption.pending_by_campaign(conn, store_now(conn)),
        )


def adopt_and_recheck(
    store: Store, client: "redis.Redis | None", *, doubt: bool, actor: str | None = None
) -> dict[int, int]:
    """Let the store be used again. Returns by campaign how many messages are now in doubt.

    `actor` is by default the user of this process.
    """

    def adopt(conn: Connection) -> dict[int, int]:
        return store_adoption.adopt_store(
            conn, doubt=doubt, actor=actor or current_person(), now=store_now(conn)
        )

    doubted = store.run_write(adopt)
    guard = RollbackGuard(store, client=client)
    with store.write() as conn:
        guard.check_and_hold(conn)
    guard.save_marks()
    return doubted
