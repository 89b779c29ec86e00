"""Triggers that refuse every change of state that `status.py` forbids. Every test runs under them.

They are made from the same tables as the store's statements, and see what was really written.
"""

from contextlib import closing, contextmanager

from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState, may_follow
from dispatcher.store.engine import Store
from dispatcher.store.transitions import STATE_COLUMNS

_KINDS = (CampaignState, BatchState, MessageState, AttemptOutcome)
#: SQLite's triggers refuse nothing while its own table of sequences has this row. To make them anew
#: would take ten times as long, and every connection would read the schema again.
_OFF = "sqlite_sequence WHERE name = 'guard off'"


def install_guard(url):
    """Add the triggers to a store that has its tables."""
    with closing(Store(url)) as store, store.write() as conn:
        for kind in _KINDS:
            for statement in guard_statements(conn.dialect.name, kind):
                conn.exec_driver_sql(statement)


@contextmanager
def unguarded(conn):
    """Let this connection change states as it likes: for tests that set a scene."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        yield
        conn.exec_driver_sql("SET LOCAL session_replication_role = origin")
        return
    conn.exec_driver_sql("INSERT INTO sqlite_sequence VALUES ('guard off', 1)")
    yield
    conn.exec_driver_sql(f"DELETE FROM {_OFF}")


def guard_statements(dialect, kind):
    """The DDL that makes the trigger of one kind of state."""
    column = STATE_COLUMNS[kind]
    table, old, new = column.table.name, f"OLD.{column.name}", f"NEW.{column.name}"
    is_forbidden = f"{old} <> {new} AND NOT ({_allowed(kind, old, new)})"
    name = f"guard_{table}_{column.name}"
    if dialect == "sqlite":
        is_forbidden += f" AND NOT EXISTS (SELECT 1 FROM {_OFF})"
    trigger = f"{name} BEFORE UPDATE OF {column.name} ON {table} FOR EACH ROW WHEN ({is_forbidden})"
    if dialect == "sqlite":
        refusals = [
            f"SELECT RAISE(ABORT, '{table}: {a.name} -> {b.name} is forbidden') "
            f"WHERE {old} = {_literal(a)} AND {new} = {_literal(b)};"
            for a in kind
            for b in kind
            if a is not b and not may_follow(a, b)
        ]
        unknown = f"SELECT RAISE(ABORT, '{table}: not a state');"
        return [f"CREATE TRIGGER IF NOT EXISTS {trigger} BEGIN {' '.join(refusals)} {unknown} END"]
    message = f"'{table}: ' || {_name(kind, old)} || ' -> ' || {_name(kind, new)}"
    function = (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION USING MESSAGE = {message} || ' is forbidden'; END $$"
    )
    return [function, f"CREATE OR REPLACE TRIGGER {trigger} EXECUTE FUNCTION {name}()"]


def _allowed(kind, old, new):
    return " OR ".join(
        f"({old} = {_literal(a)} AND {new} IN ({', '.join(map(_literal, followers))}))"
        for a in kind
        if (followers := [b for b in kind if may_follow(a, b)])
    )


def _name(kind, value):
    cases = " ".join(f"WHEN {_literal(state)} THEN '{state.name}'" for state in kind)
    return f"CASE {value} {cases} ELSE 'not a state' END"


def _literal(state):
    return f"'{state}'" if isinstance(state, CampaignState) else str(int(state))
