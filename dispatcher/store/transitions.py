"""Changes of state in SQL: which rows a statement may change, from the tables of `status.py`."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, literal_column

from dispatcher.status import (
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
    State,
    may_follow,
    predecessors,
)
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE

#: The column of each kind of state.
STATE_COLUMNS = {
    CampaignState: CAMPAIGN.c.state,
    BatchState: BATCH.c.state,
    MessageState: MESSAGE.c.state,
    AttemptOutcome: ATTEMPT.c.outcome,
}
#: Batches with work left, as the partial index has it.
IS_UNSETTLED = BATCH.c.state < literal_column(str(int(BatchState.SETTLED)))

#: Batches that ended with messages left, as the partial index has it. There should be none.
HAS_STRAY = BATCH.c.state >= literal_column(str(int(BatchState.SETTLED)))
HAS_STRAY &= BATCH.c.pending > literal_column("0")


def has_state(*states: State) -> ColumnElement[bool]:
    """Rows in one of these states.

    The states are literals: a bound parameter would keep a partial index from being used.
    """
    column: ColumnElement[Any] = STATE_COLUMNS[type(states[0])]
    literals: list[ColumnElement[Any]] = [
        literal_column(_rendered(state)) for state in sorted(states)
    ]
    return column == literals[0] if len(literals) == 1 else column.in_(literals)


def may_become(new: State, *, only_from: Collection[State] = ()) -> ColumnElement[bool]:
    """Rows that may be put into state `new`; only those in a state of `only_from`, where given.

    Every UPDATE of a state has this in its WHERE. A row of `only_from` may keep its state. Raises
    ValueError where `status.py` does not allow the change.
    """
    for old in only_from:
        if old is not new and not may_follow(old, new):
            raise ValueError(f"{new.name} may not follow {old.name}: see status.py")
    states = only_from or predecessors(new)
    if not states:
        raise ValueError(f"{new.name} may follow no state: see status.py")
    return has_state(*states)


def _rendered(state: CampaignState | BatchState | MessageState | AttemptOutcome) -> str:
    return f"'{state}'" if isinstance(state, CampaignState) else str(int(state))
