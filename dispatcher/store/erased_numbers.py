"""Numbers that were erased at a person's request: only a keyed hash is kept, and nobody texts them.

The key is random and in the store (`identity.erase_key`), so that every machine has it and no
restart can lose it: a lost key would mean that these people are texted again. So the hash hides a
number from whoever reads the table, an export or a log, but not from who has the whole store.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Final, NamedTuple

from sqlalchemy import Connection, Select, delete, func, select, update

from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.store_identity import ensure_store_id
from dispatcher.store.table_values import NumbersParameter, insert_or_ignore
from dispatcher.store.tables import ERASED_NUMBER, IDENTITY

_KEY_BYTES: Final = 32
_HASH_BYTES: Final = 8


class ErasedRow(NamedTuple):
    """A row of `erased_number`."""

    hash: int
    at: datetime
    actor: str


def hash_number(msisdn: int, *, key: bytes) -> int:
    """63 bits of BLAKE2b with the key: any two numbers share them with odds of 1 to 10¹⁸."""
    made = hashlib.blake2b(msisdn.to_bytes(8), key=key, digest_size=_HASH_BYTES)
    return int.from_bytes(made.digest()) >> 1


def load_key(conn: Connection) -> bytes | None:
    """The store's key; None where nobody was ever erased."""
    key: str | None = conn.execute(select(IDENTITY.c.erase_key)).scalar_one_or_none()
    return None if key is None else bytes.fromhex(key)


def add_erased(conn: Connection, msisdn: int, *, actor: str, now: datetime) -> None:
    """Keep a number from ever being texted, by its hash. Lock the accounts first."""
    ensure_store_id(conn)
    # A key that another transaction made meanwhile stays.
    conn.execute(
        update(IDENTITY)
        .where(IDENTITY.c.erase_key.is_(None))
        .values(erase_key=secrets.token_hex(_KEY_BYTES))
    )
    key = load_key(conn) or b""
    insert_or_ignore(
        conn, ERASED_NUMBER, {"hash": hash_number(msisdn, key=key), "at": now, "actor": actor}
    )


def find_erased(conn: Connection, msisdns: Collection[int]) -> dict[int, ErasedRow]:
    """Those of the numbers that were erased, with when and by whom."""
    key = load_key(conn)
    if key is None or not msisdns:
        return {}
    number_of = {hash_number(msisdn, key=key): msisdn for msisdn in msisdns if msisdn > 0}
    statement, given = _find_stmt(conn.dialect.name)
    rows = fetch_all(conn, ErasedRow, statement, given.to_parameters([*number_of]))
    return {number_of[row.hash]: row for row in rows}


@cache
def _find_stmt(dialect: str) -> tuple[Select[int, datetime, str], NumbersParameter]:
    given = NumbersParameter(dialect, "hashes")
    query = select(*columns_of(ERASED_NUMBER, ErasedRow))
    return query.where(given.contains(ERASED_NUMBER.c.hash)), given


def remove_erased(conn: Connection, msisdns: Collection[int]) -> list[int]:
    """Let erased numbers be texted again; which of them were erased."""
    found = find_erased(conn, msisdns)
    hashes = [row.hash for row in found.values()]
    conn.execute(delete(ERASED_NUMBER).where(ERASED_NUMBER.c.hash.in_(hashes)))
    return sorted(found)


def count_erased(conn: Connection) -> int:
    """How many numbers were erased."""
    return int(conn.execute(select(func.count()).select_from(ERASED_NUMBER)).scalar_one())


class ErasedNumbers:
    """All erased numbers, to look up the many of a file: whether a number is among them."""

    def __init__(self, conn: Connection) -> None:
        key = load_key(conn)
        hashes: Sequence[int] = conn.execute(select(ERASED_NUMBER.c.hash)).scalars().all()
        self._hashes = frozenset(hashes)
        self._hash = partial(hash_number, key=key or b"")

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, msisdn: int) -> bool:
        return self._hash(msisdn) in self._hashes
