"""Refuses transactions on PostgreSQL that lock rows against the order of `store/locks.py`.

FOR UPDATE, FOR SHARE, UPDATE and DELETE lock rows. SQLite has no row locks.
"""

import re
from contextlib import contextmanager
from functools import lru_cache
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event

ORDER = ("scheduler", "account", "campaign", "batch")
_LOCKS = re.compile(
    r"\s*(?:UPDATE (\w+)|DELETE FROM (\w+)|SELECT .*?\bFROM (\w+).*\bFOR (?:UPDATE|SHARE))",
    re.DOTALL,
)
#: A look into another table among the columns locks nothing.
_LOOKS = re.compile(r"EXISTS \(SELECT [^()]*\)")
_locked = WeakKeyDictionary()


@lru_cache(1024)
def locked_table(statement):
    """The table of ORDER whose rows a statement locks; None for others."""
    found = _LOCKS.match(_LOOKS.sub("", statement))
    table = found[found.lastindex] if found else None
    return table if table in ORDER else None


def _check(conn, _cursor, statement, _parameters, _context, _many):
    table = locked_table(statement)
    transaction = conn.get_transaction()
    if table is None or transaction is None or conn.dialect.name != "postgresql":
        return
    before = _locked.setdefault(transaction, [])
    later = [each for each in before if ORDER.index(each) > ORDER.index(table)]
    assert table in before or not later, f"{table} is locked after {later[0]}: {statement}"
    before.append(table)


@contextmanager
def check_lock_order():
    """Check every transaction of this process meanwhile."""
    event.listen(Engine, "before_cursor_execute", _check)
    yield
    event.remove(Engine, "before_cursor_execute", _check)
