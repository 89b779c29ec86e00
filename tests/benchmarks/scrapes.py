"""How long a scrape of `dispatcher metrics` takes with 1,000 running and 1,000 finished campaigns.

python -m tests.benchmarks.scrapes            # SQLite
python -m tests.benchmarks.scrapes postgres
"""

import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import text

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from tests.support.folders import FOLDER
from tests.support.postgres_server import running_server
from tests.support.scraping import Scraper, settings_in

SCRAPES = 15
CAMPAIGNS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO campaign (id, name, state, account, kind, sender, text, columns, source_name,
    content_key, on_doubt, created_at, started_at, finished_at)
SELECT i, 'campaign ' || i, CASE WHEN i > 1000 THEN 'finished' ELSE 'running' END, 'main',
    'transactional', 'SENDER', 'A text as long as one of an ordinary campaign', '["phone"]',
    'people.csv', 'key ' || i, 'hold', {at}, {at}, CASE WHEN i > 1000 THEN {at} END FROM n
"""
#: Ten of 500; half of a running campaign's are settled.
BATCHES = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9)
INSERT INTO batch (campaign_id, seq, first_seq, account, state, size, pending, delivered)
SELECT id, i, i * 500, 'main', CASE WHEN id > 1000 OR i < 5 THEN 4 ELSE 0 END, 500,
    CASE WHEN id > 1000 OR i < 5 THEN 0 ELSE 500 END,
    CASE WHEN id > 1000 OR i < 5 THEN 500 ELSE 0 END
FROM campaign CROSS JOIN n
"""
ATTEMPTS = """
INSERT INTO attempt (campaign_id, batch_id, account, size, outcome, begun_at, ended_at, deadline,
    poll_at, poll_until)
SELECT campaign_id, id, 'main', 500, 1, {at}, {at}, {at},
    CASE WHEN campaign_id <= 1000 THEN {at} END, {at} FROM batch WHERE state = 4
"""


@contextmanager
def store_urls(kind):
    """The URL of an empty store, and how a time is written in it."""
    if kind == "postgres":
        with running_server() as server, server.database() as url:
            yield url, "to_timestamp(1700000000)"
    else:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            yield f"sqlite:///{folder}/scrapes.db", "1700000000000000"


def main():
    """Print the seconds of the first scrape, and of those after it."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    with store_urls(kind) as (url, at), tempfile.TemporaryDirectory() as folder:
        upgrade_store(url)
        with closing(Store(url)) as store:
            for statement in (CAMPAIGNS, BATCHES, ATTEMPTS):
                with store.write() as conn:
                    conn.execute(text(statement.format(at=at)))
            if not store.is_sqlite:  # as PostgreSQL does by itself, within a minute
                with store.write() as conn:
                    conn.execute(text("ANALYZE"))
            scraper = Scraper(store, settings_in(Path(folder)))
            spent = []
            for _scrape in range(SCRAPES + 1):
                wall, processor = time.perf_counter(), time.process_time()
                scraper.text()
                spent.append((time.perf_counter() - wall, time.process_time() - processor))
            (first, _), *later = spent
            walls, processors = zip(*later, strict=True)
            print(
                f"{kind}: first {first * 1000:.0f} ms; then {median(walls) * 1000:.0f} ms "
                f"({min(walls) * 1000:.0f} to {max(walls) * 1000:.0f}), "
                f"{median(processors) * 1000:.0f} ms of this process's processor time"
            )


if __name__ == "__main__":
    main()
