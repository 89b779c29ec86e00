"""The sample files as people have them: every row becomes what `expected.json` says."""

import json
from pathlib import Path

import pytest

from dispatcher.numbers.msisdn import MsisdnError, NumberReader
from dispatcher.recipients.reader import open_recipients
from dispatcher.status import Encoding
from dispatcher.text.segments import measure_text
from dispatcher.text.template import RenderError, TextTemplate

SAMPLES = Path(__file__).parents[2] / "samples"
EXPECTED = json.loads((SAMPLES / "expected.json").read_text("utf-8"))


def outcomes(name, text):
    """(row number, state, number, text) of every row, as an import would decide."""
    reader, seen = NumberReader(EXPECTED["country"]), set()
    with open_recipients(SAMPLES / name, country=EXPECTED["country"]) as file:
        template = TextTemplate.parse(text).bind_columns(file.headers)
        for number, row in enumerate(file, 1):
            try:
                msisdn = reader.read(row.phone)
                rendered = template.render_values(template.used_values(row.cells))
            except (MsisdnError, RenderError):
                yield number, "invalid", None, None
                continue
            state = "duplicate" if msisdn in seen else "valid"
            seen.add(msisdn)
            yield number, state, f"+{msisdn}", rendered


@pytest.mark.parametrize("name", ["messy.csv", "messy-semicolon-cp1252.csv"])
def test_every_row_becomes_what_is_expected(name):
    expected = [
        (row["row"], row["state"], row["msisdn"]) for row in EXPECTED["files"][name]["rows"]
    ]
    assert [found[:3] for found in outcomes(name, EXPECTED["text"])] == expected


@pytest.mark.parametrize("name", ["messy.csv", "messy-semicolon-cp1252.csv"])
def test_values_arrive_in_the_text_as_they_were_typed(name):
    texts = {number: text for number, _, _, text in outcomes(name, EXPECTED["text"])}
    assert texts[2] == "Dear Ravi, Kumar, see you in Delhi."
    assert texts[3] == 'Dear O\'Brien "Bob", see you in Pune.'
    assert texts[4] == "Dear Zoë, see you in Kochi."


def test_defaults_fill_empty_cells_and_formulas_are_text():
    texts = {number: text for number, _, _, text in outcomes("messy.csv", EXPECTED["text"])}
    assert texts[18] == "Dear US, see you in town."
    assert texts[23] == "Dear =1+1, see you in Pune."
    assert texts[24] == "Dear customer, see you in Pune."


def test_without_a_default_the_row_with_the_empty_name_is_invalid():
    states = {number: state for number, state, _, _ in outcomes("messy.csv", "Dear {{name}}")}
    assert states[24] == "invalid"
    assert states[23] == "valid"


@pytest.mark.parametrize(
    ("name", "column", "encoding", "delimiter"),
    [
        ("messy.csv", "Phone", "utf-8-sig", ","),
        ("messy-semicolon-cp1252.csv", "Telefon", "cp1252", ";"),
        ("india-5000.csv", "Mobile Number", "utf-8-sig", ","),
    ],
)
def test_column_encoding_and_delimiter_are_found(name, column, encoding, delimiter):
    with open_recipients(SAMPLES / name, country=EXPECTED["country"]) as file:
        assert (file.phone_column, file.encoding, file.delimiter) == (column, encoding, delimiter)


def test_five_thousand_indian_rows_are_counted_exactly():
    rows = list(outcomes("india-5000.csv", "Dear {{Name}}, your order is ready."))
    states = [state for _, state, _, _ in rows]
    assert len(rows) == 5000
    assert {state: states.count(state) for state in set(states)} == {
        "valid": 4935,
        "duplicate": 40,
        "invalid": 25,
    }
    encodings = [measure_text(text).encoding for _, state, _, text in rows if state == "valid"]
    assert encodings.count(Encoding.UCS2) == 120


def test_every_row_of_a_workbook_becomes_what_is_expected():
    expected = EXPECTED["files"]["contacts.xlsx"]["rows"]
    found = list(outcomes("contacts.xlsx", "Dear {{name}}"))
    assert [(state, msisdn) for _, state, msisdn, _ in found] == [
        (row["state"], row["msisdn"]) for row in expected
    ]
