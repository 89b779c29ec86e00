"""What a cell says without what spreadsheets, phones and our own export put around it."""

import csv
import io

import pytest

from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula, unquote_formula
from dispatcher.recipients.reader import open_recipients
from dispatcher.status import Encoding, RejectKind
from tests.unit.recipients.test_tables import items, validator


def opened(content, **options):
    raw = content if isinstance(content, bytes) else content.encode()
    return open_recipients(io.BytesIO(raw), **options)


def cells_of(content, **options):
    with opened(content, **options) as file:
        return [row.cells for row in file]


def validated(content, text="{{name|x}}", country="IN", **options):
    """(outcomes, preview)"""
    with opened(content) as file:
        rows = validator(file, text, country, **options)
        return items(rows), rows.preview


# --- Formulas that only hold text -------------------------------------------------------------

WRAPPED = {
    'phone,pin\n="098",="0071"\n': [["098", "0071"]],
    'phone,pin\n"=""098""","=""0071"""\n': [["098", "0071"]],
    'phone,name\n="098",="Rao, Asha"\n': [["098", "Rao, Asha"]],
    'phone;name\r\n="098";="Rao ""A"" K"\r\n': [["098", 'Rao "A" K']],
    'phone\tname\n="098"\t=""\n': [["098", ""]],
    'phone,name\n ="098", ="x" \n': [["098", "x"]],
    'phone,name\n098,a="b"\n': [["098", 'a="b"']],
    'phone,name\n098,"see ,=""x"", y"\n': [["098", 'see ,="x", y']],
    'phone,name\n098,=1+1\n': [["098", "=1+1"]],
}  # fmt: skip


@pytest.mark.parametrize(("content", "cells"), WRAPPED.items())
def test_a_formula_that_only_holds_text_is_that_text(content, cells):
    assert cells_of(content) == cells


# --- Apostrophes and our own export -----------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+49",
        "-Ravi",
        "@Home",
        "\tx",
        "＝x",
        "＋1",
        "－x",
        "＠x",
        " =1+1",
        "\u00a0+49",
        "\u3000@x",
        "  \u00a0 -x",
    ],
)  # fmt: skip
def test_an_apostrophe_of_ours_is_taken_off_again(cell):
    assert unquote_formula(quote_formula(cell)) == cell
    table = io.StringIO()
    csv.writer(table).writerows([["phone", "name"], ["1", quote_formula(cell)]])
    assert cells_of(table.getvalue())[0][1].strip() == cell.strip()


@pytest.mark.parametrize("cell", ["'t Hooft", "O'Neil", "'quoted'", "'", "''", "rock 'n' roll"])
def test_other_apostrophes_stay(cell):
    assert unquote_formula(cell) == cell
    assert cells_of(f"phone,name\n1,{cell}\n2,'-x\n") == [["1", cell], ["2", "-x"]]


def exported(*rows, others=("phone", "name")):
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow([*EXPORT_COLUMNS, *others])
    for state, msisdn, *cells in rows:
        ours = dict.fromkeys(EXPORT_COLUMNS, "") | {"row": 2, "msisdn": msisdn, "state": state}
        writer.writerow([*ours.values(), *map(quote_formula, cells)])
    return table.getvalue()


def test_mended_rejects_go_in_again_without_our_columns_and_apostrophes():
    content = exported(
        ("invalid", "", "+919820011223", "-Ravi"),
        ("invalid", "", "98200-11224", "@Home"),
        ("invalid", "919820011225", "9820011225", "Mia"),
    )
    with opened(content) as file:
        assert (file.headers, file.phone_column, file.is_export) == (
            ("phone", "name"), "phone", True,
        )  # fmt: skip
    outcomes, _ = validated(content)
    assert [(item.msisdn, item.text) for item in outcomes] == [
        (919820011223, "-Ravi"), (919820011224, "@Home"), (919820011225, "Mia"),
    ]  # fmt: skip


def test_a_duplicate_among_the_rejects_stays_unsent_unless_its_number_was_changed():
    content = exported(
        ("duplicate", "919820011223", "+919820011223", "A"),
        ("duplicate", "919820011224", "98200 11229", "B"),
    )
    (kept, changed), preview = validated(content)
    assert (kept.kind, kept.msisdn) == (RejectKind.DUPLICATE, 919820011223)
    assert "list of rejected rows" in kept.reason
    assert (changed.msisdn, preview.duplicate) == (919820011229, 1)


def test_an_export_without_other_columns_is_read_by_its_own_number():
    with opened(exported(("invalid", "919820011223"), others=())) as file:
        assert (file.phone_column, [row.phone for row in file]) == ("msisdn", ["919820011223"])


def test_an_export_that_a_spreadsheet_saved_with_semicolons_is_still_ours():
    content = exported(("invalid", "", "+919820011223", "Zoë")).replace(",", ";")
    with opened(content.encode("cp1252"), country="DE") as file:
        assert file.is_export


# --- What shows nothing -----------------------------------------------------------------------

#: One of each category: Cf, Mn, Lo, So, Cc, and beyond the basic plane.
INVISIBLE = [
    "\u200b", "\u200e", "\u2060", "\ufeff", "\xad", "\u202a", "\u2066", "\ufe0f", "\u034f",
    "\u180b", "\u17b4", "\u115f", "\u3164", "\uffa0", "\u2800", "\x00", "\x07", "\x1f", "\x7f",
    "\x9f", "\U000e0061", "\U000e0100", "\U0001d173",
]  # fmt: skip


@pytest.mark.parametrize("char", INVISIBLE, ids=[f"U+{ord(char):04X}" for char in INVISIBLE])
def test_what_shows_nothing_is_ignored_in_headers_numbers_and_values(char):
    content = (
        f"{char}pho{char}ne{char},na{char}me\n"
        f"+91{char} 98200{char}11223{char},{char}Asha{char} Rao{char}\n"
        f"9820011224,{char}\n"
        f"{char},{char}\n"
        f"9820011225,Zoë{char}\n"
    ) + 20 * "9820011225,Zoë again and again\n"
    with opened(content) as file:
        assert file.headers == ("phone", "name")
    outcomes, preview = validated(content)
    assert [(item.msisdn, item.text) for item in outcomes[:3]] == [
        (919820011223, "Asha Rao"), (919820011224, "x"), (919820011225, "Zoë"),
    ]  # fmt: skip
    assert (preview.invalid, preview.culprits) == (0, {})


@pytest.mark.parametrize(
    "name",
    ["क्‍ष", "ശ്രീ\u200d", "می‌خواهم", "👩\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3", "葛\U000e0100",
     "🏴\U000e0067\U000e0062\U000e007f", "\u202bשלום\u202c"],
)  # fmt: skip
def test_scripts_and_emoji_keep_the_joiners_that_they_need(name):
    assert cells_of(f"phone,name\n1,{name}\n") == [["1", name]]


def test_a_file_of_many_blocks_is_cleaned_everywhere():
    rows = "".join(f"98200{n:05},Asha\u200b {n}\n" for n in range(40_000))
    cells = cells_of("phone,name\n" + rows)
    assert cells[39_999] == ["9820039999", "Asha 39999"]
    assert not any("\u200b" in cell for row in cells for cell in row)


# --- Words of machines ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["NULL", "null", "(null)", "nan", "NaN", "None", "#N/A", "#REF!", "#NV", "\\N", "N/A",
             "#VALUE!", "#DIV/0!", "undefined", "<NA>"],
)  # fmt: skip
def test_what_machines_write_for_nothing_is_nothing(word):
    content = f"phone,name\n9820011223,{word}\n{word},Asha\n"
    (first, second), preview = validated(content, "Dear {{name|customer}}")
    assert first.text == "Dear customer"
    assert preview.machine_words == {word: 1}
    assert second.reason in {"the cell has no number", "the cell is a spreadsheet formula"} or (
        "characters" in second.reason
    )
    (first, _), _ = validated(content, "Dear {{name}}")
    assert first.reason == "column 'name' is empty and the text has no default for it"


@pytest.mark.parametrize("name", ["Null", "Nan", "Nona", "Nil", "NA", "#1", "Nulla", "Ann #N/A"])
def test_names_that_resemble_them_stay(name):
    (item,), preview = validated(f"phone,name\n9820011223,{name}\n")
    assert (item.text, preview.machine_words.total()) == (name, 0)


# --- Characters that make texts longer --------------------------------------------------------


def test_characters_that_alone_force_ucs2_are_counted_with_their_first_row():
    names = ["Asha\xa0Rao", "Ravi", "Meera O’Neil", "Rao\xa0K", "आशा’", "Łukasz’"]
    rows = "".join(f"982001122{n},{name}\n" for n, name in enumerate(names))
    _, preview = validated("phone,name\n" + rows, "Dear {{name}}")
    assert preview.culprits == {"\xa0": (2, 2), "’": (1, 4)}


def test_normalize_works_on_the_text_with_the_values_in_it():
    names = ["Asha\xa0Rao", "Meera O’Neil", "Zoe\u0308", "आशा’", "–"]
    rows = "".join(f"982001122{n},{name}\n" for n, name in enumerate(names))
    outcomes, preview = validated("phone,name\n" + rows, "Dear {{name}}", normalizes=True)
    assert [(item.text, item.encoding) for item in outcomes] == [
        ("Dear Asha Rao", Encoding.GSM7), ("Dear Meera O'Neil", Encoding.GSM7),
        ("Dear Zoe\u0308", Encoding.UCS2), ("Dear आशा'", Encoding.UCS2), ("Dear -", Encoding.GSM7),
    ]  # fmt: skip
    assert [item.variables for item in outcomes][:2] == ['["Asha Rao"]', '["Meera O\'Neil"]']
    assert not preview.culprits


def test_line_breaks_inside_cells_are_those_of_texts():
    (item,), _ = validated('phone,name\r\n9820011223,"Asha\r\nRao"\r\n')
    assert (item.text, item.variables) == ("Asha\nRao", '["Asha\\nRao"]')


# --- Numbers of many countries ----------------------------------------------------------------


def test_recipients_are_counted_by_country_and_guesses_are_counted():
    content = "phone\n919820011223\n+91 98200 11224\n00447400123456\n447400123457\n12345\n"
    _, preview = validated(content, "Hi", None)
    assert preview.calling_codes == {91: 2, 44: 2}
    assert (preview.assumed_international, preview.invalid) == (2, 1)
