"""A new store with its tables and the guard of the transition tables."""

import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from dispatcher.store.migrate import upgrade_store
from tests.support.folders import FOLDER, folder_of_run, only_one_process
from tests.support.transition_guard import install_guard


def prepare_store(url: str, *, has_tables: bool, is_guarded: bool) -> None:
    """Prepare a new store. A copy of a SQLite file takes a hundredth of the migrations' time."""
    path = Path(make_url(url).database or "")
    if url.startswith("sqlite") and has_tables and is_guarded and not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(guarded_file())
        return
    if has_tables:
        upgrade_store(url)
    if is_guarded:
        install_guard(url)


@cache
def guarded_file() -> bytes:
    """A SQLite store with its tables and the guard; one for all processes of a run."""
    with ExitStack() as stack:
        folder = folder_of_run()
        if folder is None:
            new = tempfile.TemporaryDirectory(prefix="guarded-", dir=FOLDER)
            folder = Path(stack.enter_context(new))
        stack.enter_context(only_one_process(folder / "guarded.lock"))
        path = folder / "guarded.db"
        if not path.exists():
            making = path.with_name("making.db")
            upgrade_store(f"sqlite:///{making}")
            install_guard(f"sqlite:///{making}")
            making.rename(path)
        return path.read_bytes()
