"""The revisions of the tables that this program knows: the names of its migrations' files.

Alembic itself is slow to import.
"""

from functools import cache
from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"


@cache
def known_revisions() -> frozenset[str]:
    """The revisions, from files such as `0001_first.py`."""
    return frozenset(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/0*_*.py"))


@cache
def newest_revision() -> str:
    """The newest revision that this program knows."""
    return max(known_revisions())
