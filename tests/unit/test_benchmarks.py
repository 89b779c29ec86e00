"""The table of `make bench`: what a part printed, failed or did not finish; nothing is measured."""

import sys
import time

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import capacity, sweep, table
from tests.benchmarks.parts import FULL, QUICK, parts
from tests.benchmarks.singles import Measured
from tests.benchmarks.soak.growth import Sample, find_growth, show_quarters
from tests.benchmarks.table import Part, Row, as_markdown, at_least, at_most, has_missed

FAKE = """
import subprocess, sys, time
from tests.benchmarks.table import at_least, at_most, print_rows
name = sys.argv[-1]
if name == "good":
    print_rows([at_most("bulk", 10, 20, "s", costs="9.1 s 80 MiB"), at_least("rate", 99, 97, "/s")])
elif name == "starts":
    print_rows([at_most("start", 2, 1, "s")])
elif name == "crash":
    print_rows([at_most("before", 1, 2, "s")])
    raise SystemExit("the store is gone")
else:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("row", "ok", "ratio"),
    [
        (at_most("a", 20, 20, "s"), True, 1.0),
        (at_most("a", 20.1, 20, "s"), False, 1.005),
        (at_least("a", 97, 97, "/s"), True, 1.0),
        (at_least("a", 48.5, 97, "/s"), False, 0.5),
        (at_least("a", 5, 0, "/s"), True, None),
        (at_most("a", 20, 10, "s", ratio=1.9), False, 1.9),
    ],
)
def test_a_line_is_judged_by_its_target(row, ok, ratio):
    assert row.ok is ok
    assert row.ratio == pytest.approx(ratio)


def test_the_table_is_markdown_with_what_was_missed():
    rows = [
        Row(name="the floor", measured="4.2 s", costs="4.0 s 90 MiB"),
        at_most("bulk", 10, 8, "s", costs="9.1 s 80 MiB"),
        at_least("rate", 99, 97, "/s"),
    ]
    assert as_markdown(rows).splitlines() == [
        "| what      | measured | target | ratio  | met | processor time and memory |",
        "|-----------|----------|--------|--------|-----|---------------------------|",
        "| the floor | 4.2 s    |        |        |     | 4.0 s 90 MiB              |",
        "| bulk      | 10 s     | ≤ 8    | 1.25 × | NO  | 9.1 s 80 MiB              |",
        "| rate      | 99 /s    | ≥ 97   | 1.02 × | yes |                           |",
    ]
    assert table.summary(rows) == "1 of 2 targets met; missed: bulk"
    assert has_missed(rows)
    assert not has_missed([rows[0], rows[2]])


def test_parts_that_fail_or_are_late_miss_and_the_others_go_on(tmp_path):
    chosen = [Part(name=name, limit_s=60, measure=list) for name in ("crash", "good")]
    rows = command.run(chosen, [sys.executable, "-c", FAKE], tmp_path)
    assert [(row.name, row.measured, row.ok) for row in rows] == [
        ("before", "1 s", True),
        ("crash", "the store is gone", False),
        ("bulk", "10 s", True),
        ("rate", "99 /s", True),
    ]


def test_a_late_part_ends_with_all_that_it_has_started(tmp_path):
    began = time.monotonic()
    late = Part(name="late", limit_s=0.5, measure=list)
    (row,) = command.run([late], [sys.executable, "-c", FAKE], tmp_path)
    assert (row.measured, row.ok) == ("not finished after 0 s", False)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("check", "code"), [("1", 1), ("", 0)])
def test_a_missed_target_is_an_error_where_that_is_asked_for(monkeypatch, capsys, check, code):
    monkeypatch.setenv("CHECK", check)
    assert command.main(["--only", "starts"], [sys.executable, "-c", FAKE]) == code
    printed = capsys.readouterr()
    assert "The quick edition, " in printed.out
    assert "| start | 2 s      | ≤ 1    | 2.00 × | NO  |" in printed.out
    assert "0 of 1 targets met; missed: start\n" in printed.err


def test_the_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("Before\n<!-- table -->\nold\n<!-- /table -->\nAfter\n")
    table.write_into(page, "table", "| new |")
    assert page.read_text() == "Before\n<!-- table -->\n\n| new |\n\n<!-- /table -->\nAfter\n"
    with pytest.raises(ValueError, match="other"):
        table.write_into(page, "other", "| new |")


def test_the_full_edition_has_every_part_of_the_quick_one():
    quick, full = ({part.name for part in parts(edition)} for edition in (QUICK, FULL))
    assert quick < full


def test_the_sweep_has_every_value_of_every_column():
    chosen = list(sweep.combinations())
    assert len(set(chosen)) == len(chosen) == 24
    for name, values in [
        ("rate", sweep.RATES), ("latency_ms", sweep.LATENCIES_MS), ("unit", sweep.UNITS),
        ("in_flight", sweep.IN_FLIGHT), ("workers", sweep.WORKERS),
    ]:  # fmt: skip
        assert {getattr(each, name) for each in chosen} == set(values)


@pytest.mark.parametrize(
    ("found", "free", "most", "doubles", "ok"),
    [
        (195, 500, 201, 0, True),
        (193, 500, 201, 0, False),
        (97, 100, 110, 0, True),
        (195, 500, 202, 0, False),
        (195, 500, 200, 1, False),
    ],
)
def test_a_rate_is_used_and_never_passed(found, free, most, doubles, ok):
    case = sweep.Combination(200, "parts", 20, None, 3)
    measured = Measured(per_second=found, most=most, doubles=doubles, withdrawn=0, workers=[])
    row = sweep.judge(case, measured, free)
    assert row.name == "200 parts/s, 20 ms, unset in flight, 3 workers"
    assert row.ok is ok


FLAT = {
    ("worker", "MiB"): 150, ("worker", "files"): 40, ("worker", "connections"): 12,
    ("together", "bytes a recipient"): 300, ("together", "s a campaign"): 4,
}  # fmt: skip


def samples(last):
    """Of a steady load of 100 a second; in the last quarter these figures are other ones."""
    more = {key: last[key[1]] for key in FLAT if key[1] in last}
    return [Sample(n, 100 * n, FLAT | (more if n > 30 else {})) for n in range(1, 41)]


@pytest.mark.parametrize(
    ("last", "rate", "found"),
    [
        ({}, 100, []),
        ({"MiB": 172, "files": 44, "connections": 16, "s a campaign": 8}, 100, []),
        ({"MiB": 174}, 100, ["worker: MiB grew from 150.0 to 174.0"]),
        ({"files": 45, "bytes a recipient": 351}, 100, ["files grew", "bytes a recipient grew"]),
        ({"s a campaign": 9}, 100, ["together: s a campaign grew"]),
        ({}, 106, ["100 recipients a second of 106 were submitted"]),
    ],
)
def test_a_soak_finds_what_grows_and_a_load_that_was_not_kept(last, rate, found):
    said = find_growth(samples(last), rate=rate)
    assert len(said) == len(found)
    assert all(words in line for words, line in zip(found, said, strict=True))


def test_a_soak_shows_each_process_once_warm_and_in_the_end():
    _, worker, _ = show_quarters(samples({"MiB": 160}))
    assert worker == "worker    150 → 160 MiB, 40 → 40 files, 12 → 12 connections"


def test_the_page_of_capacity_has_what_its_inputs_give():
    assert capacity.as_text() in capacity.PAGE.read_text(encoding="utf-8")


def test_ten_times_the_messages_need_ten_times_the_processors():
    (bulk, single) = capacity.LOADS
    assert capacity.cores(bulk.worker.value, 10**9) == pytest.approx(
        10 * capacity.cores(bulk.worker.value, 10**8)
    )
    assert capacity.most_a_day(bulk, 16) == pytest.approx(
        2 * capacity.most_a_day(bulk, 8), rel=1e-6
    )
    assert capacity.most_a_day(single, 16) < capacity.most_a_day(bulk, 16)
