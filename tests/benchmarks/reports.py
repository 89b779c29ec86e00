"""How long a report of a large campaign takes, how much memory, and how large its page is.

`python -m tests.benchmarks.reports 1000000` makes a campaign of that many recipients in a SQLite
store (`--store postgres`: in the tests' PostgreSQL) and measures `campaign report` and `find`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import text

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN
from tests.support.after_sending import CONFIG
from tests.support.postgres_server import running_server
from tests.support.stores import NOW, later, start_import

SIZE = 2000
#: Of 1,000 recipients: delivered, undelivered, expired, without a receipt, rejected, in doubt.
SHARES = ((2, 930), (3, 30), (4, 15), (1, 15), (5, 9), (7, 1))


def fill(url: str, recipients: int, *, pause_s: int = 0) -> int:
    """A campaign of so many recipients at 500 a second, all submitted; its id.

    `pause_s`: the second half is submitted so much later.
    """
    upgrade_store(url)
    with closing(Store(url)) as store, store.write() as conn:
        campaign_id = start_import(conn).campaign_id
        conn.execute(
            CAMPAIGN.update().values(
                state="running", started_at=NOW, import_lease_until=None,
                rows=recipients, total=recipients,
            )
        )  # fmt: skip
        batches = range(-(-recipients // SIZE))
        half = len(batches) // 2
        seconds = [batch * SIZE / 500 + (batch >= half) * pause_s for batch in batches]
        counts = {"delivered": 1860, "undelivered": 60, "expired": 30, "submitted": 30,
                  "rejected": 18, "in_doubt": 2}  # fmt: skip
        conn.execute(
            BATCH.insert(),
            [{"id": b + 1, "campaign_id": campaign_id, "seq": b, "account": "main", "encoding": 0,
              "first_seq": b * SIZE, "size": SIZE, "parts": SIZE, "state": 4, **counts}
             for b in batches],
        )  # fmt: skip
        conn.execute(
            ATTEMPT.insert(),
            [{"id": b + 1, "campaign_id": campaign_id, "batch_id": b + 1, "account": "main",
              "outcome": 1, "begun_at": later(seconds[b]), "deadline": later(seconds[b] + 75),
              "ended_at": later(seconds[b] + 2), "size": SIZE, "job_id": f"job-{b}"}
             for b in batches],
        )  # fmt: skip
        conn.execute(text(_messages_sql(store.is_sqlite, campaign_id, recipients, half, pause_s)))
    return campaign_id


def _messages_sql(
    is_sqlite: bool, campaign_id: int, recipients: int, half: int, pause_s: int
) -> str:
    """One statement: delays of 3 s to an hour, reasons, prices, and series of several operators."""
    numbers = (
        "WITH RECURSIVE n(i) AS "
        f"(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {recipients - 1})"
        if is_sqlite
        else f"WITH n(i) AS (SELECT generate_series(CAST(0 AS bigint), {recipients - 1}))"
    )
    edges, upto = [], 0
    for state, share in SHARES:
        upto += share
        edges.append(f"WHEN (i * 7919) % 1000 < {upto} THEN {state}")
    state = f"CASE {' '.join(edges)} END"
    start = int(NOW.timestamp())
    batch = f"(i / {SIZE})"
    pause = f"CASE WHEN {batch} >= {half} THEN {pause_s} ELSE 0 END"
    delay = "3 + (i * 31) % 60 + ((i * 17) % 400) / 399 * 3000"
    after = f"{start} + {batch} * {SIZE} / 500 + {pause} + {delay}"
    final = f"({after}) * 1000000" if is_sqlite else f"to_timestamp({after})"
    price = "15000" if is_sqlite else "0.015"
    columns = ("campaign_id, seq, row, msisdn, parts, state, attempts, attempt_id, final_at, cost, "
               "provider_message_id, error_code, error, variables")  # fmt: skip
    series = "CASE i % 5 WHEN 0 THEN 9198 WHEN 1 THEN 9199 WHEN 2 THEN 9170 ELSE 9180 END"
    return f"""
        INSERT INTO message ({columns}) {numbers}
        SELECT {campaign_id}, i, i + 1, ({series}) * 100000000000 / 1000 + i, 1, s, 1,
          i / {SIZE} + 1,
          CASE WHEN s IN (2, 3, 4, 5) THEN {final} END, {price}, 'id-' || i,
          CASE s WHEN 3 THEN 'reason ' || (i % 7) WHEN 5 THEN '42' END,
          CASE s WHEN 3 THEN 'UnDelivered' WHEN 5 THEN 'blocked' END, NULL
        FROM (SELECT i, {state} AS s FROM n) AS made
    """


def main() -> None:
    """Make the campaign, run the commands in processes of their own, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipients", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = f"sqlite:///{folder}/report.db"
        if given.store == "postgres":
            url = stack.enter_context(stack.enter_context(running_server()).database())
        made = time.monotonic()
        campaign_id = fill(url, given.recipients)
        print(f"made {given.recipients:,} recipients in {time.monotonic() - made:.0f} s")
        config = Path(folder, "dispatcher.toml")
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(url=url, windows='"mon-sun 09:00-21:00"', rate=500), "utf-8"
        )
        commands = {
            "report --html": ["report", str(campaign_id), "--html", f"{folder}/report.html"],
            "report --json": ["report", str(campaign_id), "--json"],
            "failures": ["failures", str(campaign_id)],
            "find": ["find", f"+9198{given.recipients // 2 // 5 * 5:08}"],
        }
        for name, args in commands.items():
            print(json.dumps({"command": name, **_measure(["campaign", *args], config)}))
        print(f"page: {Path(folder, 'report.html').stat().st_size:,} bytes")


def _measure(args: list[str], config: Path) -> dict[str, float]:
    """Seconds, processor seconds and megabytes of one command."""
    began = time.monotonic()
    command = [sys.executable, "-m", "dispatcher", "--config", str(config), *args]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, args
    megabytes = usage.ru_maxrss / 1024
    return {
        "seconds": round(time.monotonic() - began, 2),
        "processor_s": round(usage.ru_utime + usage.ru_stime, 2),
        "megabytes": round(megabytes),
    }


if __name__ == "__main__":
    main()
