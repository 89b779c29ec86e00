"""A new store with its tables and the guard of the transition tables."""

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from dispatcher.store.migrate import upgrade_store
from tests.support.folders import FOLDER
from tests.support.transition_guard import install_guard


def prepare_store(url: str, *, has_tables: bool, is_guarded: bool) -> None:
    """Prepare a new store. A copy of a SQLite file takes a hundredth of the migrations' time."""
    path = Path(make_url(url).database or "")
    if url.startswith("sqlite") and has_tables and is_guarded and not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_guarded_file())
        return
    if has_tables:
        upgrade_store(url)
    if is_guarded:
        install_guard(url)


@cache
def _guarded_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="guarded-", dir=FOLDER) as name:
        path = Path(name, "store.db")
        upgrade_store(f"sqlite:///{path}")
        install_guard(f"sqlite:///{path}")
        return path.read_bytes()
