"""Stores that the version 0c9f2b9 left in mid-campaign, when its worker was killed.

`samples/half-sent/` has one as SQLite's and one as PostgreSQL's dump, with what stood beside them:
the witness of the SQLite file, and an answer that the store had not taken. Of campaign 1, 60
recipients in batches of 5: 20 have their receipts, 5 are in doubt, 10 are in two requests whose
leases have run out, and 25 are pending. The waiting answer is that of one of the two requests.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from dispatcher.recovery.spill import open_spill
from dispatcher.store.engine import Store

SAMPLES = Path(__file__).parents[1] / "samples" / "half-sent"
CAMPAIGN_ID, SIZE = 1, 60


def load_sqlite(path: Path) -> str:
    """Make the SQLite store at `path`, with its witness and its spill; its URL."""
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript((SAMPLES / "sqlite.sql").read_text("utf-8"))
    shutil.copyfile(SAMPLES / "witness", f"{path}.witness")
    url = f"sqlite:///{path}"
    _spill_answer(url, None)
    return url


def load_postgres(url: str, spill_dir: Path) -> None:
    """Fill the empty database; the waiting answer goes to its folder in `spill_dir`."""
    given = make_url(url)
    with psycopg.connect(
        host=str(given.query["host"]), user=given.username, dbname=given.database
    ) as conn:
        conn.execute((SAMPLES / "postgres.sql").read_bytes())
    _spill_answer(url, spill_dir)


def _spill_answer(url: str, spill_dir: Path | None) -> None:
    with closing(Store(url)) as store:
        folder = open_spill(store, spill_dir).folder
    folder.mkdir(mode=0o700, parents=True)
    shutil.copyfile(SAMPLES / "spill.json", folder / "7-2-8.json")
