"""Adoption: a person says what a store is that does not agree with its witnesses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dispatcher.recovery.witness import RollbackGuard
from dispatcher.store import store_identity
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rows import PendingCampaign

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """How a store stands with its witnesses.

    `held` is why nothing is released, `is_behind` that this is surely an older copy; `waiting` has
    id, name and pending messages of what would be sent.
    """

    held: str | None
    is_behind: bool
    waiting: Sequence[PendingCampaign]


def check_store(store: Store, client: "redis.Redis | None") -> StoreCheck:
    """Ask every witness, and note in the store what they say."""
    witness = RollbackGuard(store, client=client)
    remembered = witness.read_redis_mark()
    with store.write() as conn:
        held = witness.check_and_hold(conn, remembered=remembered)
        row = store_identity.ensure_identity(conn)
        return StoreCheck(
            held=held,
            is_behind=row.witnessed_id > row.attempt_id,
            waiting=store_identity.pending_by_campaign(conn, store_now(conn)),
        )


def adopt_store(
    store: Store, client: "redis.Redis | None", *, doubt: bool, actor: str = "operator"
) -> dict[int, int]:
    """Make the store the truth again; messages put in doubt, by campaign. See `identity.adopt`."""
    with store.write() as conn:
        doubted = store_identity.adopt_store(conn, doubt=doubt, actor=actor, now=store_now(conn))
    witness = RollbackGuard(store, client=client)
    with store.write() as conn:
        witness.check_and_hold(conn)
    witness.save_marks()
    return doubted
