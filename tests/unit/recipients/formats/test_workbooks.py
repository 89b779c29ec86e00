"""Workbooks as recipient files: which cells are read as what, what is noticed, what is refused."""

import zipfile
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from dispatcher.errors import Refused, UsageProblem
from dispatcher.recipients.formats.cells import cell_text
from dispatcher.recipients.reader import open_recipients
from tests.support.workbooks import archive, sheet_of, xlsx

OFFICE = Path(__file__).parents[3] / "samples" / "office"
PEOPLE = sheet_of([["phone", "name"], ["9820011240", "Asha"]])
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STYLES = (
    '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="00000"/></numFmts>'
    '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>'
)


def read(path, **options):
    """The file's format, and its rows as (number, cells)."""
    with open_recipients(path, **options) as file:
        return file.found_format, [(row.number, row.cells) for row in file]


def refusal(path, **options):
    with pytest.raises(Refused) as caught:
        read(path, **options)
    assert caught.value.hint
    return caught.value.message


@pytest.fixture
def workbook(tmp_path):
    return lambda sheets, **parts: xlsx(tmp_path / "people.xlsx", sheets, **parts)


@pytest.mark.parametrize("name", ["club.xlsx", "club.ods"])
def test_a_workbook_of_libreoffice_is_read_by_its_own_row_numbers(name):
    found, rows = read(OFFICE / name)
    assert rows[0] == (4, ["919820011240", "Asha", "2026-01-02", "42", "0.3"])
    assert rows[1] == (5, ["+91 98200 11241", 'Ravi, Jr. "RJ"', "2026-01-03", "007", "2500"])
    assert [number for number, _ in rows] == [4, 5, 6, 7, 11, 12, 13]
    assert rows[4][1][:2] == ["09820011243", "Merged"]
    assert rows[5][1][:2] == ["+919820011244", ""]
    assert rows[6][1][1] == "আশা"
    assert (found.name, found.sheet, found.is_sure) == (name[-4:].strip("."), "Contacts", False)
    assert found.sheets == [("Contacts", False, 13), ("Notes & sums", False, 1), ("Old", True, 2)]
    assert found.findings.hidden_rows == (6,)
    assert found.findings.merged_rows == (1, 11)
    assert found.findings.dates == {3: 2}
    assert found.findings.numbers[1] == 2


@pytest.mark.parametrize("name", ["filtered.xlsx", "filtered.ods"])
def test_rows_that_a_filter_hides_are_found_and_left_out_if_a_person_says_so(name):
    found, rows = read(OFFICE / name)
    assert found.findings.hidden_rows == (4, 7, 10, 13)
    assert found.findings.hidden_columns == {4}
    assert [number for number, _ in rows] == [*range(2, 14)]
    found, rows = read(OFFICE / name, skips_hidden=True)
    assert found.findings.hidden_rows == (4, 7, 10, 13)
    assert [number for number, _ in rows] == [2, 3, 5, 6, 8, 9, 11, 12]
    assert {cells[2] for _, cells in rows} == {"Pune"}


@pytest.mark.parametrize(
    ("columns", "hidden"),
    [
        ('<col min="1" max="1" hidden="1"/>', {1}),
        ('<col min="2" max="16384" width="9" hidden="true"/>', {*range(2, 16385)}),
        ('<col hidden="1" max="3" min="2"/><col min="4" max="4" hidden="0"/>', {2, 3}),
        ('<col min="1" max="99999" hidden="1"/>', {*range(1, 16385)}),
    ],
)
def test_hidden_columns_are_found_and_no_more_than_a_sheet_has(workbook, columns, hidden):
    path = workbook({"A": PEOPLE})
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name).decode() for name in book.namelist()}
    parts = {
        name: content.replace("<sheetData>", f"<cols>{columns}</cols><sheetData>")
        for name, content in parts.items()
    }
    assert read(archive(path, parts))[0].findings.hidden_columns == hidden


def test_a_hidden_row_without_anything_in_it_is_nobody(workbook):
    path = workbook({"A": PEOPLE + '<row r="3" hidden="1"></row>' + sheet_row(4)})
    assert read(path)[0].findings.hidden_rows == ()


def sheet_row(number):
    return f'<row r="{number}"><c r="A{number}"><v>9820011241</v></c></row>'


def test_the_error_of_a_cell_and_a_format_of_zeros_are_seen_in_excels_format():
    found, rows = read(OFFICE / "club.xlsx")
    assert rows[3] == (7, ["#N/A", "No number", "", "", ""])
    assert found.findings.zeros == {4: 1}


@pytest.mark.parametrize("wanted", ["Old", "old", " OLD ", "3"])
def test_a_sheet_is_chosen_by_name_or_number_a_hidden_one_too(wanted):
    found, rows = read(OFFICE / "club.ods", sheet=wanted)
    assert rows == [(2, ["9820011299"])]
    assert found.is_sure
    assert found.sheet == "Old"


def test_a_sheet_whose_name_is_a_number_comes_before_the_number(workbook):
    path = workbook({"2": PEOPLE, "other": sheet_of([["phone"], ["1"]])})
    assert read(path, sheet="2")[0].sheet == "2"


@pytest.mark.parametrize("wanted", ["Contact", "0", "4", "²"])
def test_an_unknown_sheet_names_those_that_exist(wanted):
    with pytest.raises(Refused) as caught:
        read(OFFICE / "club.xlsx", sheet=wanted)
    assert f"no sheet '{wanted}'" in caught.value.message
    assert "it has: Contacts, Notes & sums, Old" in caught.value.hint


def test_the_only_visible_sheet_with_data_needs_no_choice(workbook):
    sheets = {"Empty": "", "Secret": PEOPLE, "People": PEOPLE}
    found, rows = read(workbook(sheets, hidden=["Secret"]))
    assert (found.sheet, found.is_sure) == ("People", True)
    assert rows == [(2, ["9820011240", "Asha"])]


def test_a_workbook_without_visible_data_is_refused(workbook):
    path = workbook({"Empty": "", "Secret": PEOPLE}, hidden=["Secret"])
    assert "no visible sheet with data" in refusal(path)


def test_numbers_are_read_by_their_value_and_formulas_by_what_was_stored(workbook):
    rows = (
        '<row r="2"><c r="B2" t="inlineStr"><is><t>phone</t></is></c></row>'
        '<row r="3"><c r="B3"><v>9.19820011240E+11</v></c>'
        '<c r="C3"><f>1+1</f></c><c r="D3" t="str"><f>""</f><v></v></c></row>'
        '<row r="4"><c r="B4" t="str"><f>"98"&amp;A1</f><v>9820011241</v></c>'
        '<c r="D4" t="e"><f>NA()</f><v>#DIV/0!</v></c></row>'
    )
    found, read_rows = read(workbook({"A": rows}))
    assert [number for number, _ in read_rows] == [3, 4]
    assert [cells[0] for _, cells in read_rows] == ["919820011240", "9820011241"]
    assert read_rows[1][1][2] == "#DIV/0!"
    assert found.findings.empty_formulas == ("C3",)


def test_hidden_rows_are_found_in_a_strict_workbook_too(workbook):
    path = workbook({"A": PEOPLE.replace('<row r="2">', '<row r="2" hidden="1">')})
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name).decode() for name in book.namelist()}
    old = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    strict = "http://purl.oclc.org/ooxml/officeDocument/relationships"
    main = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    parts = {
        name: content.replace(old, strict).replace(f"{MAIN}", main)
        for name, content in parts.items()
    }
    assert read(archive(path, parts))[0].findings.hidden_rows == (2,)


def test_zeros_that_a_format_shows_are_counted(workbook):
    rows = '<row r="1"><c r="A1" t="inlineStr" s="1"><is><t>phone</t></is></c></row>' + "".join(
        f'<row r="{n}"><c r="A{n}" s="1"><v>42</v></c><c r="B{n}"><v>7</v></c></row>'
        for n in (2, 3)
    )
    found, _ = read(workbook({"A": rows}, more={"xl/styles.xml": STYLES}))
    assert found.findings.zeros == {1: 2}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (919876543210.0, "919876543210"), (9.19877e11, "919877000000"), (0.1 + 0.2, "0.3"),
        (1234.5, "1234.5"), (-0.0, "0"), (1e-7, "0.0000001"), (1e300, "1" + "0" * 300),
        (float("nan"), ""), (float("inf"), ""), (123456789012345678.0, "123456789012346000"),
        (True, "TRUE"), ("007", "007"), (date(2026, 12, 24), "2026-12-24"),
        (datetime(2026, 12, 24), "2026-12-24"),  # noqa: DTZ001 - a spreadsheet has no zones
        (datetime(2026, 12, 24, 9, 5), "2026-12-24 09:05"),  # noqa: DTZ001
        (time(9, 5, 7), "09:05:07"), (timedelta(hours=30, minutes=5), "30:05"),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_people_see_its_value(value, text):
    assert cell_text(value) == text


def test_a_cell_far_from_the_others_is_refused_and_takes_no_memory_here(workbook):
    far = '<row r="1"><c r="A1"><v>1</v></c><c r="XFD1048576"><v>1</v></c></row>'
    assert "needs more than 2 GiB of memory" in refusal(workbook({"A": far}))


def test_declared_entities_are_refused(workbook):
    bomb = '<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">]>'
    assert "declares XML entities" in refusal(workbook({"A": PEOPLE}, prolog=bomb))


def test_a_bomb_of_parts_is_refused_by_what_it_would_unpack_to(workbook):
    path = workbook({"A": PEOPLE})
    content = path.read_bytes()
    # The size in the central directory, which comes last, of the sheet: 3 GiB.
    at = content.rindex(b"xl/worksheets/sheet1.xml") - 46
    path.write_bytes(content[: at + 24] + (3 * 1024**3).to_bytes(4, "little") + content[at + 28 :])
    assert "more than 2 GiB of data" in refusal(path)


def test_a_workbook_that_is_not_complete_is_refused(workbook):
    path = workbook({"A": PEOPLE})
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged or not complete" in refusal(path)
    damaged = bytearray(workbook({"A": PEOPLE}).read_bytes())
    at = damaged.rindex(b"PK\5\6") + 16  # where the central directory begins
    path.write_bytes(damaged[:at] + b"\xff\xff\xff\x7f" + damaged[at + 4 :])
    assert "damaged or not complete" in refusal(path)
    path = workbook({"A": PEOPLE + "<row"})
    assert "damaged or not complete" in refusal(path)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"word/document.xml": "<a/>"}, "a Word document"), ({"people.csv": "phone"}, "a ZIP"),
        ({"xl/workbook.bin": "x"}, ".xlsb"),
    ],
)  # fmt: skip
def test_another_archive_is_named_for_what_it_is(tmp_path, parts, what):
    assert what in refusal(archive(tmp_path / "people.xlsx", parts))


def test_an_encrypted_workbook_says_how_to_remove_the_password(tmp_path):
    path = tmp_path / "people.xlsx"
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 5000
    path.write_bytes(old + "EncryptedPackage".encode("utf-16-le"))
    assert "encrypted" in refusal(path)
    path.write_bytes(old)
    assert "Excel 97 to 2003" in refusal(path)
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/>'
        "</manifest:file-entry></manifest:manifest>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    parts = {"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": "\1\2"}
    assert "encrypted" in refusal(archive(tmp_path / "people.ods", parts))


@pytest.mark.parametrize("option", ["encoding", "delimiter"])
def test_an_option_of_tables_of_text_is_wrong_usage_for_a_workbook(option):
    with pytest.raises(UsageProblem, match=f"--{option} is for CSV, and the file is an Excel"):
        read(OFFICE / "club.xlsx", **{option: "utf-8" if option == "encoding" else ";"})


def test_a_sheet_of_a_table_of_text_is_wrong_usage(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("phone\n9820011240\n")
    with pytest.raises(UsageProblem, match=r"people\.csv: --sheet names a sheet of a workbook"):
        read(path, sheet="1")


def test_a_wrong_name_is_noticed(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes((OFFICE / "club.xlsx").read_bytes())
    assert read(path)[0].misnamed == "a table of text (CSV)"
    path = tmp_path / "people.xlsx"
    path.write_text("phone\n9820011240\n")
    assert read(path)[0].misnamed == "an Excel workbook"
    assert read(OFFICE / "club.ods")[0].misnamed is None


def test_a_workbook_that_changes_while_it_is_read_is_refused(workbook):
    path = workbook({"A": PEOPLE})
    with open_recipients(path) as file:
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(Refused, match="changed while it was read"):
            list(file)
