"""The floors of a bulk campaign: one process that does the same work with nothing around it.

    python -m tests.benchmarks.floors sqlite|postgres PROVIDER_URL people.csv STORE

STORE is the path of a new SQLite file, or the URL of an empty PostgreSQL database.

CSV in, numbers checked by one pattern, duplicates dropped, parts counted; a row per recipient; read
back, rendered and posted 2,000 at a time, four in flight; ids stored; every job polled until all of
it is final; statuses stored. Commits are durable. There is no queue, no rate, no retry and no proof
against crashes: no program that keeps promises can be faster. Prints JSON.
"""

import asyncio
import csv
import re
import resource
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import uvloop

_SIZE = 2000
_WIDTH = 4
_TEXT = "Dear %s, your parcel is at the counter."
_NUMBER = re.compile(r"\+?(91[6-9]\d{9})").fullmatch
_HEADERS = {"key": "k", "Accept": "application/json", "Content-Type": "application/json"}
_DONE, _FAILED = 2, 3
#: seq, number, name, parts.
Row = tuple[int, int, str, int]
_TABLES = """
    CREATE TABLE message (seq INTEGER PRIMARY KEY, msisdn BIGINT NOT NULL UNIQUE, name TEXT,
      parts INT, state INT DEFAULT 0, provider_id TEXT, submitted_at INT, final_at INT){options};
    CREATE TABLE batch (seq INTEGER PRIMARY KEY, state INT, job TEXT)
"""


class Floor(ABC):
    """A store with a table of recipients and one of batches."""

    @abstractmethod
    def load(self, groups: Iterator[list[Row]]) -> int:
        """Store the rows, a transaction per group; how many groups."""

    @abstractmethod
    async def read(self, batch: int) -> list[tuple[int, int, str]]:
        """The rows of a batch: seq, number and name."""

    @abstractmethod
    async def begin(self, batch: int) -> None:
        """Commit that the batch is about to leave."""

    @abstractmethod
    async def settle(self, batch: int, job: str, seqs: list[int], ids: list[str]) -> None:
        """Store the answer."""

    @abstractmethod
    async def finish(self, batch: int, seqs: list[int], states: list[int]) -> None:
        """Store the receipts."""

    @abstractmethod
    def count(self) -> int:
        """How many recipients are final."""


class SqliteFloor(Floor):
    """Everything in one connection: SQLite has one writer."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-262144"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES.format(options=""))

    def load(self, groups: Iterator[list[Row]]) -> int:
        n = 0
        for n, rows in enumerate(groups, 1):
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO message (seq, msisdn, name, parts) VALUES (?, ?, ?, ?)", rows
            )
            self._db.execute("INSERT INTO batch VALUES (?, 0, NULL)", (n - 1,))
            self._db.execute("COMMIT")
        return n

    async def read(self, batch: int) -> list[tuple[int, int, str]]:
        return self._db.execute(
            "SELECT seq, msisdn, name FROM message WHERE seq >= ? AND seq < ?",
            (batch * _SIZE, batch * _SIZE + _SIZE),
        ).fetchall()

    async def begin(self, batch: int) -> None:
        self._db.execute("UPDATE batch SET state = 1 WHERE seq = ?", (batch,))

    async def settle(self, batch: int, job: str, seqs: list[int], ids: list[str]) -> None:
        self._update("state = 1, submitted_at = 17, provider_id = j.value ->> 1", seqs, ids,
                     "UPDATE batch SET state = 2, job = ? WHERE seq = ?", (job, batch))  # fmt: skip

    async def finish(self, batch: int, seqs: list[int], states: list[int]) -> None:
        self._update("state = j.value ->> 1, final_at = 18", seqs, states,
                     "UPDATE batch SET state = 3 WHERE seq = ?", (batch,))  # fmt: skip

    def _update(
        self, what: str, seqs: list[int], values: list[Any], batch_sql: str, given: tuple[Any, ...]
    ) -> None:
        pairs = orjson.dumps(list(zip(seqs, values, strict=True))).decode()
        self._db.execute("BEGIN")
        self._db.execute(
            f"UPDATE message SET {what} FROM json_each(?) j WHERE seq = j.value ->> 0", (pairs,)
        )
        self._db.execute(batch_sql, given)
        self._db.execute("COMMIT")

    def count(self) -> int:
        query = "SELECT count(*) FROM message WHERE state IN (2, 3)"
        return int(self._db.execute(query).fetchone()[0])


class PostgresFloor(Floor):
    """A connection for each request in flight; COPY in, binary arrays, HOT updates."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        with psycopg.connect(url, autocommit=True) as conn:
            for statement in _TABLES.format(options=" WITH (fillfactor = 50)").split(";"):
                conn.execute(statement)

    def load(self, groups: Iterator[list[Row]]) -> int:
        n = 0
        with psycopg.connect(self._url) as conn:
            for n, rows in enumerate(groups, 1):
                with conn.transaction(), conn.cursor() as cursor:
                    with cursor.copy(
                        "COPY message (seq, msisdn, name, parts) FROM STDIN (FORMAT BINARY)"
                    ) as copy:
                        copy.set_types(["int4", "int8", "text", "int4"])
                        for row in rows:
                            copy.write_row(row)
                    cursor.execute("INSERT INTO batch VALUES (%s, 0, NULL)", (n - 1,))
        return n

    async def read(self, batch: int) -> list[tuple[int, int, str]]:
        conn = await self._connection()
        found = await conn.execute(
            "SELECT seq, msisdn, name FROM message WHERE seq >= %s AND seq < %s",
            (batch * _SIZE, batch * _SIZE + _SIZE),
            binary=True,
        )
        rows = await found.fetchall()
        self._idle.append(conn)
        return rows

    async def begin(self, batch: int) -> None:
        conn = await self._connection()
        await conn.execute("UPDATE batch SET state = 1 WHERE seq = %s", (batch,))
        self._idle.append(conn)

    async def settle(self, batch: int, job: str, seqs: list[int], ids: list[str]) -> None:
        what = "state = 1, submitted_at = 17, provider_id = g.v"
        closing = "UPDATE batch SET state = 2, job = %s WHERE seq = %s"
        await self._update(what, "text", seqs, ids, closing, (job, batch))

    async def finish(self, batch: int, seqs: list[int], states: list[int]) -> None:
        closing = "UPDATE batch SET state = 3 WHERE seq = %s"
        await self._update("state = g.v, final_at = 18", "int4", seqs, states, closing, (batch,))

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        if self._idle:
            return self._idle.pop()
        return await psycopg.AsyncConnection.connect(self._url, autocommit=True)

    async def _update(
        self,
        what: str,
        kind: str,
        seqs: list[int],
        values: list[Any],
        batch_sql: str,
        given: tuple[Any, ...],
    ) -> None:
        conn = await self._connection()
        async with conn.transaction():
            await conn.execute(
                f"UPDATE message SET {what} FROM unnest(%b::int4[], %b::{kind}[]) g(seq, v) "
                "WHERE message.seq = g.seq",
                (seqs, values),
            )
            await conn.execute(batch_sql, given)
        self._idle.append(conn)

    def count(self) -> int:
        with psycopg.connect(self._url) as conn:
            found = conn.execute("SELECT count(*) FROM message WHERE state IN (2, 3)").fetchone()
        return int(found[0]) if found else 0


def _read_people(path: Path) -> Iterator[list[Row]]:
    seen: set[int] = set()

    def rows() -> Iterator[Row]:
        with path.open(newline="") as file:
            for phone, name in csv.reader(file):
                match = _NUMBER(phone)
                if not match or (number := int(match[1])) in seen:
                    continue
                yield len(seen), number, name, 1 if len(name) + len(_TEXT) <= 162 else 2
                seen.add(number)

    each = rows()
    while group := list(islice(each, _SIZE)):
        yield group


async def _each(batches: int, work: Callable[[int], Awaitable[None]]) -> None:
    waiting = iter(range(batches))

    async def one() -> None:
        for batch in waiting:
            await work(batch)

    await asyncio.gather(*(one() for _ in range(_WIDTH)))


async def _send_and_poll(store: Floor, base: str, batches: int) -> tuple[float, float]:
    jobs: dict[int, str] = {}
    began = time.perf_counter()
    async with aiohttp.ClientSession(headers=_HEADERS) as http:

        async def post(path: str, fields: dict[str, str]) -> Any:
            async with http.post(f"{base}/{path}", data=orjson.dumps(fields)) as answer:
                return orjson.loads(await answer.read())["data"]

        async def send(batch: int) -> None:
            rows = await store.read(batch)
            await store.begin(batch)
            people = [{"number": str(n), "text": _TEXT % name} for _, n, name in rows]
            fields = {"sender_id": "7", "template_id": "1107", "channel": "1", "is_unicode": "0"}
            data = await post(
                "send-bulk-sms", {"recipient": orjson.dumps(people).decode(), **fields}
            )
            seq_of = {str(n): seq for seq, n, _ in rows}
            seqs = [seq_of[each["Number"]] for each in data["MessageData"]]
            jobs[batch] = data["JobId"]
            ids = [each["message_id"] for each in data["MessageData"]]
            await store.settle(batch, jobs[batch], seqs, ids)

        await _each(batches, send)
        sent_s = time.perf_counter() - began

        async def poll(batch: int) -> None:
            while True:
                data = await post("sms-delivery-status", {"job_id": jobs[batch]})
                if all(each["status_name"] != "Sent" for each in data):
                    break
                await asyncio.sleep(0.2)
            seq_of = {str(n): seq for seq, n, _ in await store.read(batch)}
            seqs = [seq_of[each["mobile_number"]] for each in data]
            states = [_DONE if each["status_name"] == "Delivered" else _FAILED for each in data]
            await store.finish(batch, seqs, states)

        await _each(batches, poll)
    return sent_s, time.perf_counter() - began - sent_s


def main() -> None:
    """Run the floor, and print what it took."""
    kind, base, people, place = sys.argv[1:]
    store: Floor = SqliteFloor(place) if kind == "sqlite" else PostgresFloor(place)
    began = time.perf_counter()
    batches = store.load(_read_people(Path(people)))
    import_s = time.perf_counter() - began
    send_s, poll_s = uvloop.run(_send_and_poll(store, base.rstrip("/"), batches))
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "final": store.count(),
        "import_s": import_s,
        "send_s": send_s,
        "poll_s": poll_s,
        "total_s": import_s + send_s + poll_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "rss_mib": used.ru_maxrss // 1024,
    }
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
