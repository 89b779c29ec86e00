"""Exports for people and programs: CSV for Excel, JSON Lines, XLSX; by state, and with details."""

import csv
import io
import json
import stat
import zipfile
from xml.etree import ElementTree as ET

import pytest

from dispatcher.campaigns.export import read_export
from dispatcher.reports.export_formats import DETAIL_COLUMNS, write_xlsx
from tests.support.after_sending import HOSTILE, run_in, sent_campaign
from tests.support.stores import add_account, campaign_of, order, submit

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture
def run(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent_campaign(sqlite_store)
    return run_in(tmp_path, sqlite_store)


def sheet_of(data):
    """The cells of a workbook's first sheet by their places, and its XML."""
    with zipfile.ZipFile(data) as book:
        xml = book.read("xl/worksheets/sheet1.xml").decode()
        names = book.namelist()
        shared = []
        if "xl/sharedStrings.xml" in names:
            root = ET.fromstring(book.read("xl/sharedStrings.xml"))
            shared = ["".join(one.itertext()) for one in root]
    cells = {}
    for cell in ET.fromstring(xml).iter(f"{MAIN}c"):
        value = "".join(cell.itertext())
        cells[cell.get("r")] = shared[int(value)] if cell.get("t") == "s" else value
    return cells, xml


def test_a_csv_for_excel_has_its_mark_and_whole_numbers(run, tmp_path):
    assert run("campaign", "export", "1", "-o", "r.csv", "--excel").code == 0
    data = (tmp_path / "r.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert rows[0]["msisdn"] == '="919820011000"'
    assert rows[0]["phone"] == '="919820011000"'
    assert rows[0]["parts"] == "1"
    assert stat.S_IMODE((tmp_path / "r.csv").stat().st_mode) == 0o600


def test_a_csv_for_excel_can_be_submitted_again(run, sqlite_store, tmp_path):
    run("campaign", "export", "1", "-o", "again.csv", "--excel", "--details")
    wanted = order((tmp_path / "again.csv").read_bytes(), text="Again, {{name}}")
    campaign = campaign_of(sqlite_store, submit(sqlite_store, wanted))
    assert (campaign.total, campaign.invalid) == (10, 0)
    assert json.loads(campaign.columns)[:2] == ["phone", "name"]


def test_json_lines_have_the_original_columns_apart(run):
    lines = [
        json.loads(line)
        for line in run("campaign", "export", "1", "--format", "jsonl").out.splitlines()
    ]
    assert len(lines) == 10
    first = lines[0]
    assert (first["msisdn"], first["state"], first["columns"]["name"]) == (
        919_820_011_000, "delivered", "N0",
    )  # fmt: skip
    assert (first["campaign"], first["sender"], first["timezone"]) == (
        HOSTILE, "SENDER", "Asia/Kolkata",
    )  # fmt: skip
    assert first["submitted_at"] == "2030-05-06T12:00:00.000Z"
    assert first["submitted_at_local"] == "2030-05-06 17:30:00"
    assert {*DETAIL_COLUMNS} <= {*first}


def test_a_workbook_has_texts_and_no_formula(run, tmp_path):
    ended = run("campaign", "export", "1", "-o", "r.xlsx")
    assert ended.code == 0, ended.err
    cells, xml = sheet_of(tmp_path / "r.xlsx")
    assert [cells[f"{letter}1"] for letter in "ABCD"] == ["row", "seq", "msisdn", "state"]
    assert (cells["A2"], cells["C2"], cells["D2"]) == ("2", "919820011000", "delivered")
    assert "<f>" not in xml
    assert "hyperlink" not in xml
    names = [value for place, value in cells.items() if place.startswith("P")]
    assert any("<script>alert(1)</script>" in value for value in names)
    assert not any("\x1b" in value for value in cells.values())
    assert stat.S_IMODE((tmp_path / "r.xlsx").stat().st_mode) == 0o600


def test_an_export_has_only_the_wanted_states(run):
    out = run("campaign", "export", "1", "--state", "undelivered", "--state", "expired").out
    assert [row["state"] for row in csv.DictReader(io.StringIO(out))] == ["undelivered", "expired"]


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@x", "\t=1", "http://example.com", "0098", "é"]
)
def test_every_cell_of_a_workbook_is_a_text(store, name):
    add_account(store)
    campaign = campaign_of(store, submit(store, order(f'phone,name\n9800000001,"{name}"\n12,x\n')))
    data = io.BytesIO()
    pages = read_export(store, campaign, quote=lambda cell: cell)
    assert write_xlsx(pages, ["row"] * 16, data) == 2
    cells, xml = sheet_of(data)
    assert cells["P2"].strip() == name.strip()
    assert cells["D3"] == "invalid"
    assert "<f>" not in xml


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--state", "lost"], "--state 'lost' is not a state of a row"),
        (["--excel", "--format", "xlsx"], "--excel is for CSV"),
        (["--excel", "-o", "r.jsonl"], "--excel is for CSV"),
    ],
)
def test_what_cannot_be_exported_is_said(run, options, words):
    ended = run("campaign", "export", "1", *options)
    assert (ended.code, words in ended.err) == (2, True)
