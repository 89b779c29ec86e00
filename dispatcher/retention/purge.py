"""Purges campaigns that ended long ago, slice by slice, while others work."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from dispatcher.store import purges, replies
from dispatcher.store.audit import current_person
from dispatcher.store.engine import Store, store_now
from dispatcher.store.purges import SLICE, PurgeCandidate

#: Small campaigns that one transaction purges: single messages are campaigns too.
_MOST_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """What a purge will do. `kept` are campaigns that ended, of which something is still open.

    `begun` are campaigns of a purge that was killed: they are finished first.
    """

    before: datetime
    campaigns: Sequence[PurgeCandidate]
    kept: Sequence[PurgeCandidate]
    begun: Sequence[int]

    @property
    def recipients(self) -> int:
        """Whose numbers and texts go."""
        return sum(one.total for one in self.campaigns)


@dataclass(slots=True, kw_only=True)
class PurgeResult:
    """What was dropped: the campaigns, and how many messages and rejected rows."""

    campaigns: list[int] = field(default_factory=list)
    messages: int = 0
    rejects: int = 0

    def add(self, other: "PurgeResult") -> None:
        """Count what another one has dropped too."""
        self.campaigns += other.campaigns
        self.messages += other.messages
        self.rejects += other.rejects


def plan_purge(store: Store, before: datetime) -> PurgePlan:
    """Find the campaigns that ended before a time."""
    with store.read() as conn:
        ended = purges.list_ended(conn, before)
        begun = purges.list_half_purged(conn)
    return PurgePlan(
        before=before,
        campaigns=[one for one in ended if one.is_free],
        kept=[one for one in ended if not one.is_free],
        begun=begun,
    )


def run_purge(
    store: Store, plan: PurgePlan, progress: Callable[[int], None] = lambda _messages: None
) -> PurgeResult:
    """Purge a plan's campaigns, and replies as old; `progress` gets how many messages are gone.

    A campaign that has been opened again since the plan was made is left alone.
    """
    done = PurgeResult()
    for campaign_id in plan.begun:
        _empty_in_slices(store, campaign_id, done, progress)
    for group in _group_small(plan.campaigns):
        if group[0].rows > SLICE:
            if store.run_write(partial(_mark, group[0])):
                done.campaigns.append(group[0].id)
                _empty_in_slices(store, group[0].id, done, progress)
        else:
            done.add(store.run_write(partial(_purge_at_once, group)))
            progress(done.messages)
    store.run_write(lambda conn: replies.drop_replies(conn, plan.before))
    return done


def _group_small(campaigns: Sequence[PurgeCandidate]) -> Iterator[list[PurgeCandidate]]:
    """Small campaigns together, as many as have a slice's rows; each large one alone."""
    group: list[PurgeCandidate] = []
    for one in campaigns:
        room = SLICE - sum(other.rows for other in group)
        if group and (one.rows > room or len(group) == _MOST_AT_ONCE):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _mark(candidate: PurgeCandidate, conn: Connection) -> bool:
    return purges.mark_purged(conn, candidate, now=store_now(conn), actor=current_person())


def _purge_at_once(group: Sequence[PurgeCandidate], conn: Connection) -> PurgeResult:
    done = PurgeResult()
    for candidate in group:
        if _mark(candidate, conn):
            done.campaigns.append(candidate.id)
            for part in purges.list_slices(conn, candidate.id):
                done.messages += purges.drop_messages(conn, candidate.id, part)
            while dropped := purges.drop_rejects(conn, candidate.id):
                done.rejects += dropped
    return done


def _empty_in_slices(
    store: Store, campaign_id: int, done: PurgeResult, progress: Callable[[int], None]
) -> None:
    with store.read() as conn:
        slices = purges.list_slices(conn, campaign_id)
    for part in slices:
        drop = partial(purges.drop_messages, campaign_id=campaign_id, part=part)
        done.messages += store.run_write(drop)
        progress(done.messages)
    while dropped := store.run_write(partial(purges.drop_rejects, campaign_id=campaign_id)):
        done.rejects += dropped
