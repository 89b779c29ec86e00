"""The table of `make bench`: lines with their targets, measured by parts that may fail.

Each part is measured by a process of its own with a time limit. One that fails or is late is a line
that missed, and the others go on. What it has started ends with it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

_TITLES = ("what", "measured", "target", "ratio", "met", "processor time and memory")
#: How long a part that is late may take to end what it has started.
_END_S = 20.0
_SAID_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line: what was measured, of what it is a multiple, and whether that is good enough."""

    name: str
    measured: str
    target: str = ""
    ratio: float | None = None
    #: None: it only shows what something costs.
    ok: bool | None = None
    #: Seconds of processor time of each process, and their peak memory.
    costs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lines that are measured together, in pairs, within `limit_s`."""

    name: str
    limit_s: float
    measure: Callable[[], Iterable[Row]]


def at_most(name: str, value: float, most: float, unit: str, **rest: Any) -> Row:
    """A line whose value may be `most`."""
    return Row(
        name=name,
        measured=f"{value:,.4g} {unit}".rstrip(),
        target=f"≤ {most:,.4g}",
        ok=value <= most,
        **{"ratio": value / most, **rest},
    )


def at_least(name: str, value: float, least: float, unit: str, **rest: Any) -> Row:
    """A line whose value must be `least`."""
    return Row(
        name=name,
        measured=f"{value:,.4g} {unit}".rstrip(),
        target=f"≥ {least:,.4g}",
        ok=value >= least,
        **{"ratio": value / least if least else None, **rest},
    )


def print_rows(rows: Iterable[Row]) -> None:
    """What the process of a part does: each line as JSON as soon as it is measured."""
    for row in rows:
        print(json.dumps(asdict(row)), flush=True)


def run_part(name: str, limit_s: float, command: Sequence[str], env: dict[str, str]) -> list[Row]:
    """The lines that a part's process has printed; one that missed where it did not end well."""
    rows: list[Row] = []
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=env, process_group=0
        ) as process:
            reader = threading.Thread(target=_read_rows, args=(process, rows))
            reader.start()
            reader.join(limit_s)
            if is_late := reader.is_alive():
                _end(process)
                reader.join()
        code = process.returncode
        said.seek(0)
        last = [line.strip() for line in said.read().splitlines() if line.strip()][-_SAID_LINES:]
    if is_late:
        rows.append(_missed(name, f"not finished after {limit_s:.0f} s", limit_s))
    elif code:
        rows.append(_missed(name, " ".join(last)[-160:] or f"ended with {code}", limit_s))
    return rows


def _missed(name: str, why: str, limit_s: float) -> Row:
    return Row(name=name, measured=why, target=f"an answer within {limit_s:.0f} s", ok=False)


def _read_rows(process: "subprocess.Popen[str]", rows: list[Row]) -> None:
    for line in process.stdout or ():
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError):
            print(line.rstrip(), file=sys.stderr)


def _end(process: "subprocess.Popen[str]") -> None:
    """Let it end what it has started, as Ctrl-C does; then end that too."""
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        for each in started:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    # Its group is what it started without a session, until the last of them has ended.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, aligned, as Markdown."""
    cells = [_TITLES, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
    met = {True: "yes", False: "NO", None: ""}[row.ok]
    shown = (row.name, row.measured, row.target, ratio, met, row.costs)
    return tuple(cell.replace("|", "/") for cell in shown)


def summary(rows: Sequence[Row]) -> str:
    """How many lines met their target, and which did not."""
    judged = [row for row in rows if row.ok is not None]
    missed = [row.name for row in judged if not row.ok]
    words = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    return words + (f"; missed: {'; '.join(missed)}" if missed else "")


def has_missed(rows: Iterable[Row]) -> bool:
    """Whether a line missed its target."""
    return any(row.ok is False for row in rows)


def write_into(page: Path, mark: str, text: str) -> None:
    """Replace what is between the two comments `<!-- mark -->` and `<!-- /mark -->` of a page.

    Raises ValueError where the page does not have them.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _old, also, after = rest.partition(end)
    if not (found and also):
        raise ValueError(f"{page} has no {begin} … {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def machine() -> Iterator[str]:
    """What the figures depend on: processors, memory, versions."""
    import platform
    import sqlite3

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    yield f"{psutil.cpu_count()} × {next(islice(models, 1), platform.machine())}"
    yield f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    yield f"{platform.system()} {platform.release()}"
    yield f"Python {platform.python_version()}"
    yield f"SQLite {sqlite3.sqlite_version}"
    yield f"load {psutil.getloadavg()[0]:.1f} at the start"
