"""The benchmarks as one table: floors, naive peers and this program in pairs, with targets.

    make bench [FULL=1] [CHECK=1] [ARGS="--only singles --write"]

The quick edition takes about two minutes on two idle cores, the full one about twenty. With CHECK=1
in the environment a missed target is an error. `--write` puts the table into README.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.table import Part, Row

_PAGE = Path(__file__).with_name("README.md")
_MEASURING = (sys.executable, "-m", "tests.benchmarks")


def run(chosen: Sequence[Part], command: Sequence[str], folder: Path) -> list[Row]:
    """Measure the parts, each by `command` and its name; what each has found is shown at once."""
    env = os.environ | {"TESTS_FOLDER": str(folder), "TMPDIR": str(folder)}
    rows: list[Row] = []
    for part in chosen:
        began = time.monotonic()
        found = table.run_part(part.name, part.limit_s, [*command, part.name], env)
        took_s = time.monotonic() - began
        print(f"{part.name}: {took_s:.0f} s, {table.summary(found)}", file=sys.stderr, flush=True)
        rows += found
    return rows


def describe(edition: str) -> str:
    """When, where and on what the table was measured."""
    asked = ["git", "-C", str(_PAGE.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"The {edition} edition, {at}, {commit or 'no commit'}: {', '.join(table.machine())}."


def main(words: Sequence[str] | None = None, measuring: Sequence[str] = _MEASURING) -> int:
    """Print the table; 1 with CHECK=1 where a target was missed. `measuring` runs a part."""
    from tests.benchmarks.parts import FULL, QUICK, parts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the edition of twenty minutes")
    parser.add_argument("--only", default="", help="parts with this in their name")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    edition = FULL if given.full else QUICK
    if given.part:
        part = next(part for part in parts(edition) if part.name == given.part)
        table.print_rows(part.measure())
        return 0
    chosen = [part for part in parts(edition) if given.only in part.name]
    if not chosen:
        names = ", ".join(part.name for part in parts(edition))
        parser.error(f"no part has {given.only!r} in its name; there are {names}")
    where = describe(edition.name)
    command = [*measuring, *(["--full"] * given.full), "--part"]
    # On a disk, where a commit costs what it costs; PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp", ignore_cleanup_errors=True) as at:
        Path(at).chmod(0o711)
        rows = run(chosen, command, Path(at))
    print(f"{where}\n\n{table.as_markdown(rows)}\n\n{table.summary(rows)}")
    if given.write:
        table.write_into(_PAGE, "table", f"{where}\n\n{table.as_markdown(rows)}")
    return int(bool(os.environ.get("CHECK")) and table.has_missed(rows))


if __name__ == "__main__":
    sys.exit(main())
