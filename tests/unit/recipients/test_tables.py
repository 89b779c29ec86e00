"""The table in a file: its delimiter, its header, and what is around both; other formats."""

import pytest

from dispatcher.errors import NotAvailableYet, Refused, UsageProblem
from dispatcher.recipients.detection.delimiters import find_delimiter, parse_delimiter
from dispatcher.recipients.preview import AcceptedRow
from dispatcher.recipients.reader import open_recipients
from dispatcher.recipients.validation import RowValidator
from dispatcher.text.template import TextTemplate


@pytest.fixture
def write(tmp_path):
    def write(content, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def validator(file, text="Hello", country="IN", **options):
    template = TextTemplate.parse(text).bind_columns(file.headers)
    sizes = {"sizes_of": lambda _numbers, texts: [*map(len, texts)], "room_bytes": 999}
    return RowValidator(file, template, country, max_parts=None, **sizes, **options)


def items(rows):
    """What the rows become, in the file's order."""
    found = []
    for block in rows.read_blocks():
        found += map(AcceptedRow._make, zip(*block.accepted.columns, strict=True))
        found += block.rejected
    return sorted(found, key=lambda item: item.row)


def read(path, **options):
    with open_recipients(path, **options) as file:
        return file.headers, [row.cells for row in file]


# --- Delimiters -------------------------------------------------------------------------------

TIES = {
    "German names": ("Telefon;Name, Vorname\n0171 2345671;Mü, Hans\n0171 2345672;Eva, S\n", ";"),
    "a semicolon in each address": (
        "phone,address\n9820011223,12 Hill Rd; Pune\n9820011224,4 Sea; Goa\n", ",",
    ),
    "commas in every cell": ("a, b;phone;c, d\nx, y;9820011223;z, w\nq, r;9820011224;s, t\n", ";"),
    "tabs with commas": ("phone\tname, first\n9820011223\tRao, Asha\n", "\t"),
    "bars with semicolons": ("phone|a;b\n9820011223|x;y\n9820011224|x;y\n", "|"),
    "numbers with a decimal comma": ("phone;sum\n9820011223;1,50\n9820011224;2,75\n", ";"),
    "a comma in the header only": ("phone, mobile;name\n9820011223;Asha\n9820011224;Ravi\n", ";"),
}  # fmt: skip


@pytest.mark.parametrize(("sample", "delimiter"), TIES.values(), ids=TIES)
def test_between_two_that_fit_the_one_that_sets_numbers_apart_is_taken(sample, delimiter):
    found = find_delimiter(sample)
    assert (found.char, found.is_sure) == (delimiter, True)


def test_two_that_fit_alike_are_not_sure():
    assert not find_delimiter("a;b,c\nd;e,f\ng;h,i\n").is_sure


@pytest.mark.parametrize(
    ("given", "char"),
    [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("TAB", "\t"), ("|", "|"),
     ("semicolon", ";"), (":", ":"), ("space", " "), (" ", " "), ("~", "~")],
)  # fmt: skip
def test_a_delimiter_is_a_character_or_its_name(given, char):
    assert parse_delimiter(given) == char


@pytest.mark.parametrize("given", ["", ";;", '"', "\n", "tabs"])
def test_what_is_not_a_delimiter_is_wrong_usage(given):
    with pytest.raises(UsageProblem, match="is not a valid delimiter"):
        parse_delimiter(given)


def test_a_named_delimiter_comes_before_the_found_one(write):
    path = write("phone:name\n9820011223:Asha, R\n9820011224:Ravi, K\n")
    assert read(path, delimiter=":") == (
        ("phone", "name"), [["9820011223", "Asha, R"], ["9820011224", "Ravi, K"]],
    )  # fmt: skip


# --- Quotes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [" ", "  ", ""])
@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_a_blank_before_a_quote_is_not_part_of_the_cell(write, delimiter, blank):
    text = f'phone,{blank}name,{blank}city\n9820011223,{blank}"Rao, A",{blank}"Pu ""x"" ne"\n'
    path = write(text.replace(",", delimiter))
    assert read(path)[1] == [["9820011223", f"Rao{delimiter} A", 'Pu "x" ne']]


# --- Header -----------------------------------------------------------------------------------

TITLED = {
    "a title": "Customers of spring\nphone,name,city\n9820011223,Asha,Pune\n",
    "a title with empty cells": "Customers,,\n,,\nphone,name,city\n9820011223,Asha,Pune\n",
    "several rows": "List of phones\n\nMade 2026-01-02\nphone,name,city\n9820011223,Asha,Pune\n",
    "a title with the word phone": "Phone list,,\nphone,name,city\n9820011223,Asha,Pune\n",
    "a title in quotes": '"Customers, by phone"\nphone,name,city\n9820011223,Asha,Pune\n',
    "a report's parameters": "Branch:,Pune,\nphone,name,city\n9820011223,Asha,Pune\n",
}


@pytest.mark.parametrize("content", TITLED.values(), ids=TITLED)
def test_titles_above_the_header_are_left_out_and_said(write, content):
    with open_recipients(write(content)) as file:
        assert file.headers == ("phone", "name", "city")
        assert file.header_place.titles
        (row,) = file
    assert row.cells == ["9820011223", "Asha", "Pune"]
    assert row.number == content.count("\n")


def test_a_header_is_found_below_titles_by_the_column_that_a_person_names(write):
    path = write("Customers\nwho,what\nx,9820011223\n")
    assert read(path, column="what")[0] == ("who", "what")


def test_rows_with_numbers_are_never_taken_for_titles(write):
    with pytest.raises(Refused, match="the file has no header row"):
        open_recipients(write("9820011223,Asha\n9820011224,Ravi\nphone,name\n9820011225,Mia\n"))


def test_a_file_of_one_column_with_a_title_like_a_header_is_read_from_its_first_row(write):
    assert read(write("Phones\n9820011223\n"))[0] == ("Phones",)


# --- Files that were put together ---------------------------------------------------------------

JOINED = {
    "as they are": "phone,name\n9820011223,A\nphone,name\n9820011224,B\n",
    "with byte-order marks": "\ufeffphone,name\n9820011223,A\n\ufeffphone,name\n9820011224,B\n",
    "with doubled marks": "\ufeff\ufeffphone,name\n9820011223,A\n\ufeffPhone,Name\n9820011224,B\n",
    "with quoted headers": (
        '\ufeff\ufeff"phone","name"\n9820011223,A\n"phone","name"\n9820011224,B\n'
    ),
    "without a line break between": "phone,name\n9820011223,Aphone,name\n9820011224,B\n",
    "with a mark, and without a line break": (
        "phone,name\n9820011223,A\ufeffphone,name\n9820011224,B\n"
    ),
}


@pytest.mark.parametrize("content", JOINED.values(), ids=JOINED)
def test_files_put_together_are_one_list_without_the_repeated_header(write, content):
    with open_recipients(write(content)) as file:
        rows = validator(file, "{{name}}")
        texts = [(item.msisdn, item.text) for item in items(rows)]
        assert texts == [(919820011223, "A"), (919820011224, "B")]
        assert len(file.repeated_headers) == 1
    assert rows.preview.invalid == 0


@pytest.mark.parametrize(
    "second",
    ["name,phone", "phone,city", "Mobile,City", "city,mobile", "Telefon,Ort", "phone,name,city"],
)
def test_a_second_header_with_other_columns_is_refused(write, second):
    path = write(f"phone,name\n9820011223,A\n{second}\n9820011224,B\n")
    with open_recipients(path) as file, pytest.raises(Refused, match="row 3 is a second header"):
        items(validator(file))


def test_a_row_that_only_lacks_its_number_is_not_a_second_header(write):
    with open_recipients(write("phone,name\nnone,Mobile Rao\ncall me,x\n")) as file:
        assert [item.row for item in items(validator(file))] == [2, 3]


# --- Other formats ------------------------------------------------------------------------------

OTHERS = {
    "an HTML page": [
        b"<html><body><table><tr><td>phone</td></tr></table>", b"\xef\xbb\xbf<!DOCTYPE html><html>",
        b"\r\n <TABLE border=1>", "<html>".encode("utf-16"), b"<meta charset=utf-8><table>",
    ],
    "an XML spreadsheet": [
        b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">',
    ],
    "an XML file": [b"<?xml version='1.0'?><contacts>", b"<contacts><c phone='1'/>"],
    "a vCard file": [b"BEGIN:VCARD\nVERSION:3.0\nTEL:+91\nEND:VCARD\n", b"begin:vcard\r\n"],
    "a calendar": [b"BEGIN:VCALENDAR\n"],
    "an LDIF file": [b"dn: cn=Asha,dc=example\nmobile: 1\n"],
    "a SYLK spreadsheet": [b"ID;PWXL;N;E\n"],
    "a DIF spreadsheet": [b'TABLE\r\n0,1\r\n"EXCEL"\r\n'],
    "a saved web page or e-mail": [b"MIME-Version: 1.0\nContent-Type: multipart/related\n"],
    "a formatted text (RTF)": [b"{\\rtf1\\ansi phone\n"],
    "a PDF document": [b"%PDF-1.7\n"],
    "an SQLite database": [b"SQLite format 3\0\x10\0"],
    "an SQL script": [b"INSERT INTO people VALUES (1);", b"-- dump\nCREATE TABLE people (\n"],
    "a picture": [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "content"), [(what, content) for what, all_ in OTHERS.items() for content in all_]
)
def test_another_format_is_named_for_what_it_is_whatever_the_files_name(write, what, content):
    with pytest.raises(Refused) as caught:
        open_recipients(write(content))
    assert caught.value.message == f"people.csv: the file is {what}, not a table of text"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'[\n  {"phone": 1}]', "JSON files of one list"), (b'["phone"]', "JSON files"),
        ("\ufeff{\n 'a': 1}".encode(), "JSON files"), (b"BZh91AY", "files compressed like this"),
    ],
)  # fmt: skip
def test_formats_that_may_be_read_one_day_are_named_too(write, content, what):
    with pytest.raises(NotAvailableYet, match=f"{what}.* cannot be read yet"):
        open_recipients(write(content))


@pytest.mark.parametrize(
    "header", ["<phone>,name", "[phone],name", "{phone},name", "phone <mobile>,name", "-- phone,n"]
)
def test_headers_with_signs_are_not_another_format(write, header):
    assert read(write(f"{header}\n9820011223,a\n"))[1] == [["9820011223", "a"]]
