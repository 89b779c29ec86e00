"""Submits a file again and again, each time killed at another point, from one warm process.

`tests.support.killed_import CONFIG PEOPLE POINTS SEED` prints a JSON object a point. A
point is a number of function calls, Python's and C's: a fork counts them, and kills itself there.
"""

import contextlib
import io
import json
import os
import random
import signal
import sys
from pathlib import Path

from sqlalchemy import delete, select

from dispatcher.cli import cli
from dispatcher.config.settings import load_settings
from dispatcher.store.engine import Store
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from tests.support.compiled_statements import share_compiled_statements


def main() -> None:
    share_compiled_statements()
    config, people, points, seed = sys.argv[1:]
    url = load_settings(Path(config), {}).store.url
    submit = ["--config", config, "campaign", "submit", people, "--text", "Hello {{name}}"]
    submit += ["--idempotency-key", "spring", "--yes", "--json"]
    calls = counted(submit)
    drawn = random.Random(int(seed))
    for _ in range(int(points)):
        empty(url)
        at = drawn.randrange(1, calls)
        killed = forked(submit, kill_at=at)
        left = campaigns(url)
        again = forked(submit)
        found = {"at": at, "killed": killed, "left": left, "again": again, "then": campaigns(url)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def counted(argv: list[str]) -> int:
    """How many calls a whole submission makes, after one that warmed every cache."""
    assert command(argv) == 0
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        total = run(argv, kill_at=None)
        os.write(writing, str(total).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        return int(answer.read())


def forked(argv: list[str], kill_at: int | None = None) -> int:
    """Run the command in a fork; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if kill_at is None:
                code = command(argv)
            else:
                run(argv, kill_at=kill_at)
                code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(argv: list[str], *, kill_at: int | None) -> int:
    """The calls that the command made, unless it was killed on the way."""
    made = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal made
        if event in {"call", "c_call"}:
            made += 1
            if made == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        command(argv)
    finally:
        sys.setprofile(None)
    return made


def command(argv: list[str]) -> int:
    """`dispatcher ARGV`, without a word; its exit code."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        try:
            cli.main(argv, prog_name="dispatcher", standalone_mode=True)
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def empty(url: str) -> None:
    store = Store(url)
    with store.write() as conn:
        for table in (MESSAGE, SOURCE_ROWS, REJECT, BATCH, CAMPAIGN):
            conn.execute(delete(table))
    store.close()


def campaigns(url: str) -> list[dict[str, object]]:
    """State, total and messages of every campaign; its messages without one, under None."""
    store = Store(url)
    with store.read() as conn:
        rows = conn.execute(select(CAMPAIGN.c.id, CAMPAIGN.c.state, CAMPAIGN.c.total)).all()
        of = conn.execute(select(MESSAGE.c.campaign_id)).scalars().all()
    store.close()
    found: list[dict[str, object]] = [
        {"state": row.state, "total": row.total, "messages": of.count(row.id)} for row in rows
    ]
    strays = len(of) - sum(of.count(row.id) for row in rows)
    return [*found, {"state": None, "messages": strays}] if strays else found


if __name__ == "__main__":
    main()
