"""The guard of the state tables: what `status.py` forbids cannot be written in any test."""

from contextlib import closing

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from dispatcher.errors import StoreError
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState, may_follow
from dispatcher.store.engine import Store
from dispatcher.store.transitions import STATE_COLUMNS
from tests.support.stores import add_campaign, change, submitting
from tests.support.transition_guard import install_guard

KINDS = [CampaignState, BatchState, MessageState, AttemptOutcome]


@pytest.fixture
def scene(store_url):
    """A store with one row that has each kind of state."""
    with closing(Store(store_url)) as store:
        add_campaign(store, [1])
        submitting(store)
        yield store


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_tables_forbid_is_refused_and_what_they_allow_is_written(scene, kind):
    column = STATE_COLUMNS[kind]
    with scene.write() as conn:
        for old in kind:
            for new in kind:
                change(conn, column.table, True, **{column.name: old})
                refusal = f"{column.table.name}: {old.name} -> {new.name} is forbidden"
                is_allowed = old is new or may_follow(old, new)
                assert write_state(conn, column, new) == (None if is_allowed else refusal)
                assert conn.execute(select(column)).scalar_one() == (new if is_allowed else old)


@pytest.mark.parametrize("kind", [BatchState, MessageState, AttemptOutcome])
def test_a_number_that_is_not_a_state_is_refused(scene, kind):
    with scene.write() as conn:
        assert "not a state" in write_state(conn, STATE_COLUMNS[kind], 99)


def test_the_programs_own_statements_meet_the_guard(scene):
    column = STATE_COLUMNS[BatchState]
    with pytest.raises(StoreError, match="refused a statement"), scene.write() as conn:
        conn.execute(update(column.table).values(state=BatchState.REPLACED))


def test_other_columns_change_freely(scene):
    table = STATE_COLUMNS[BatchState].table
    with scene.write() as conn:
        conn.execute(update(table).values(tries=3))
        assert conn.execute(select(table.c.tries)).scalar_one() == 3


def test_the_guard_can_be_installed_twice(scene):
    install_guard(scene.url.render_as_string(hide_password=False))


def write_state(conn, column, state):
    """What the guard says about an UPDATE of a state; None where the state was written."""
    try:
        with conn.begin_nested():
            conn.execute(update(column.table).values({column.name: state}))
    except DBAPIError as error:
        return str(error.orig).splitlines()[0]
    return None
