"""Erases one number at a person's request, unless something of it is still open."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from dispatcher.errors import StateRefused
from dispatcher.store import erasures, scheduler
from dispatcher.store.audit import current_person
from dispatcher.store.engine import Store, store_now
from dispatcher.store.erasures import ErasureResult, NumberMessage, Obstacle, RejectKey

#: The first revision whose workers look erased numbers up.
_FIRST_REVISION: Final = "0010"
_ALIVE: Final = timedelta(minutes=1)
#: How long to try again while a worker holds a message, and how often.
_TRY_FOR_S, _PAUSE_S = 5.0, 0.25
#: Rows that one transaction rewrites.
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePlan:
    """What the store has of a number."""

    msisdn: int
    messages: Sequence[NumberMessage]
    rejects: Sequence[RejectKey]
    #: Entries of the suppression list.
    listed: int
    #: Campaigns that are being imported: they may yet write the number.
    importing: Sequence[int]

    @property
    def campaigns(self) -> list[int]:
        """The campaigns that have messages to it."""
        return sorted({one.campaign_id for one in self.messages})


def plan_erasure(store: Store, msisdn: int, national: str) -> ErasurePlan:
    """Look for a number everywhere; `national` are its digits without the country's code."""
    with store.read() as conn:
        messages = erasures.find_messages(conn, msisdn)
        listed = erasures.count_listed(conn, msisdn)
        importing = erasures.list_importing(conn)
    with store.read() as conn:
        rejects = erasures.find_rejects(conn, msisdn, national)
    return ErasurePlan(
        msisdn=msisdn, messages=messages, rejects=rejects, listed=listed, importing=importing
    )


def refuse_obstacles(store: Store, plan: ErasurePlan) -> None:
    """Raise StateRefused if something of the number is open, with what to do."""
    for one in plan.messages:
        if one.obstacle is not None:
            raise _explain_obstacle(one)
    with store.read() as conn:
        alive = scheduler.list_workers(conn, store_now(conn) - _ALIVE)
    if old := [one.name for one in alive if (one.revision or "") < _FIRST_REVISION]:
        raise StateRefused(
            f"workers of a version that does not know erased numbers are running: {', '.join(old)}",
            "restart them with this version; nothing was erased",
        )


def _explain_obstacle(one: NumberMessage) -> StateRefused:
    where = f"campaign {one.campaign_id}"
    words = {
        Obstacle.IN_DOUBT: (
            f"the number is in doubt in {where}: the provider may have accepted it",
            f"decide first: `dispatcher campaign resolve {one.campaign_id} --recipient NUMBER`",
        ),
        Obstacle.IN_FLIGHT: (
            f"a message of {where} to the number is in flight",
            "try again in a minute; nothing was erased",
        ),
        Obstacle.POLLED: (
            f"the provider is still asked what became of a message of {where}, until "
            f"{one.poll_until:%Y-%m-%d %H:%M} UTC at most"
            if one.poll_until is not None
            else f"the provider is still asked about a message of {where}",
            "`dispatcher suppression add NUMBER` now, and erase it then; nothing was erased",
        ),
        Obstacle.IMPORTING: (
            f"{where} has the number and is being imported",
            "try again when that has ended, or cancel it if it was broken off; nothing was erased",
        ),
    }
    return StateRefused(*words[one.obstacle or Obstacle.IN_FLIGHT])


def run_erasure(
    store: Store, plan: ErasurePlan, sleep: Callable[[float], None] = time.sleep
) -> ErasureResult:
    """Erase a number. Waits some seconds for a worker that holds it, then raises StateRefused.

    A killed one is made again: what it had dropped is gone, and the rest is found.
    """
    refuse_obstacles(store, plan)
    _blank_rows(store, plan)
    give_up_at = time.monotonic() + _TRY_FOR_S
    erase = partial(_erase, plan)
    while True:
        try:
            return store.run_write(erase)
        except _InFlight as error:
            if time.monotonic() > give_up_at:
                with store.read() as conn:
                    found = erasures.find_messages(conn, plan.msisdn)
                raise _explain_obstacle(
                    next(m for m in found if m.campaign_id == error.campaign)
                ) from None
            sleep(_PAUSE_S)


class _InFlight(Exception):
    """A worker holds a message of this campaign; the transaction is rolled back."""

    def __init__(self, campaign: int) -> None:
        super().__init__(campaign)
        self.campaign = campaign


def _erase(plan: ErasurePlan, conn: Connection) -> ErasureResult:
    done = erasures.erase_messages(
        conn,
        plan.msisdn,
        rejects=len(plan.rejects),
        actor=current_person(),
        now=store_now(conn),
    )
    if done.in_flight:
        raise _InFlight(done.in_flight[0])
    return done


def _blank_rows(store: Store, plan: ErasurePlan) -> None:
    """Drop the rows of files first: the messages, which lead to them, are still there."""
    for at in range(0, len(plan.messages), _AT_ONCE):
        store.run_write(partial(_blank_sources, plan.messages[at : at + _AT_ONCE]))
    for at in range(0, len(plan.rejects), _AT_ONCE):
        some = plan.rejects[at : at + _AT_ONCE]
        store.run_write(partial(erasures.blank_rejects, keys=some))


def _blank_sources(messages: Sequence[NumberMessage], conn: Connection) -> None:
    for message in messages:
        erasures.blank_source_row(conn, message)
