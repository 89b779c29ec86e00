"""Files as people have them, through `campaign submit`: what is read, said, asked and refused."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.integration.cli.test_what_is_told import CONFIG
from tests.support.cli import in_process
from tests.support.stores import rows
from tests.support.workbooks import sheet_of, xlsx

FIELD = Path(__file__).parents[2] / "samples" / "field"


@pytest.fixture
def run(sqlite_store, tmp_path):
    """`dispatcher campaign submit FILE …` over the test's store; `country` is the account's."""

    def run(file, *options, text="Dear {{name}}", country="IN"):
        config = tmp_path / "dispatcher.toml"
        config.touch(mode=0o600)
        written = CONFIG.format(path=sqlite_store.url.database)
        config.write_text(written.replace('country = "IN"', f'country = "{country}"'))
        path = str(FIELD / file if isinstance(file, str) else file)
        args = ("campaign", "submit", path, "--account", "main", "--text", text, *options)
        return in_process("--config", str(config), *args, folder=tmp_path)

    return run


def understood(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def saved(tmp_path, content, codec="utf-8", name="people.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode(codec))
    return path


# --- Encodings ----------------------------------------------------------------------------------


def test_k02_polish_names_are_read_and_three_words_are_shown(run):
    ended = run("K02-cp1250-pl.csv", "--dry-run", text="Czesc {{imie}}!", country="PL")
    assert "read as: Windows-1250 (guessed), delimiter semicolon, header in row 1" in ended.out
    assert "words in it: Łukasz, Żółć" in ended.out
    assert "Czesc Łukasz!" in ended.out
    found = understood(
        run("K02-cp1250-pl.csv", "--dry-run", "--json", text="{{imie}}", country="PL")
    )
    assert found["file"]["encoding"] == "Windows-1250"
    assert (found["file"]["encoding_is_sure"], found["file"]["words"]) == (True, ["Łukasz", "Żółć"])


def test_a_script_is_refused_where_the_guess_is_not_sure_until_the_encoding_is_named(
    run, sqlite_store
):
    options = ("--country", "IN", "--yes")
    ended = run("K02-cp1250-pl.csv", *options, text="Czesc {{imie}}!")
    assert ended.code == 3
    assert "the encoding of the file is not sure: as Windows-1250 its words are Łukasz" in ended.err
    assert "--encoding" in ended.err
    assert rows(sqlite_store, CAMPAIGN) == []
    ended = run(
        "K02-cp1250-pl.csv", "--encoding", "windows-1250", "--country", "PL", "--yes",
        text="Czesc {{imie}}!",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "read as: Windows-1250 (--encoding)" in ended.out


def test_a_dry_run_says_that_the_guess_is_not_sure(run):
    ended = run("K02-cp1250-pl.csv", "--dry-run", text="Czesc {{imie}}!")
    assert "note: the encoding Windows-1250 is a guess" in ended.out
    assert ended.code == 0


@pytest.mark.parametrize(
    ("country", "codec", "name", "number"),
    [
        ("RU", "cp1251", "Сергей Щербаков", "8 912 345-67-89"),
        ("GR", "cp1253", "Γιώργος Παπαδόπουλος", "691 234 5678"),
        ("TR", "cp1254", "Gülşen Yıldız", "0532 123 45 67"),
        ("CN", "gb18030", "王伟李娜张敏刘洋", "139 1234 5678"),
        ("JP", "cp932", "佐藤健 鈴木一郎", "090-1234-5678"),
    ],
)
def test_lists_of_other_countries_arrive_as_they_were_written(
    run, tmp_path, country, codec, name, number
):
    path = saved(tmp_path, f"phone,name\r\n{number},{name}\r\n", codec)
    found = understood(run(path, "--yes", "--json", country=country))
    assert found["counts"]["total"] == 1
    assert found["file"]["words"] == [name]


@pytest.mark.parametrize("option", ["--encoding=klingon", "--delimiter=;;", "--country=XX"])
def test_an_option_that_means_nothing_is_wrong_usage(run, option):
    assert run("K02-cp1250-pl.csv", option, "--dry-run").code == 2


# --- The same list again --------------------------------------------------------------------------


def test_k03_the_same_list_saved_again_is_refused(run):
    assert run("K03-resaved-a-lf.csv", "--yes").code == 0
    for file in ("K03-resaved-b-crlf.csv", "K03-resaved-c-bom.csv"):
        ended = run(file, "--yes")
        assert ended.code == 3
        assert "the same recipients and text were submitted as campaign 1" in ended.err
    assert run("K03-resaved-b-crlf.csv", "--yes", "--again").code == 0


# --- Cells ----------------------------------------------------------------------------------------


def test_k04_characters_in_cells_are_named_and_normalized(run):
    ended = run("K04-cells-need-normalize.csv", "--dry-run")
    assert "U+00A0 NO-BREAK SPACE in 1 text, first row 2" in ended.out
    assert "’ (U+2019 RIGHT SINGLE QUOTATION MARK) in 1 text, first row 4" in ended.out
    assert "Dear Zoya Khan" not in ended.out or "\u200b" not in ended.out
    ended = run("K04-cells-need-normalize.csv", "--dry-run", "--normalize")
    assert "4 × 1 part GSM-7" in ended.out
    assert "Dear Meera O'Neil" in ended.out


def test_k05_values_wrapped_in_formulas_arrive_as_their_text(run):
    ended = run("K05-equals-quoted.csv", "--dry-run", text="{{name}} {{pin}}")
    assert "Asha 0071" in ended.out
    assert "Ravi 0072" in ended.out
    assert '="' not in ended.out


def test_k07_a_tie_of_delimiters_is_decided_by_the_numbers(run):
    ended = run("K07-delimiter-tie-de.csv", "--dry-run", text="{{Name, Vorname}}", country="DE")
    assert "delimiter semicolon" in ended.out
    assert "Müller, Hans" in ended.out
    ended = run("K07-delimiter-tie-de.csv", "--dry-run", country="DE")
    assert "the columns are: Telefon, 'Name, Vorname'" in ended.err


def test_k08_invisible_characters_in_a_number_are_ignored(run):
    assert "1 to send\n" in run("K08-invisible-in-number.csv", "--dry-run").out


def test_k17_rejects_are_mended_and_submitted_again_as_they_are(run, tmp_path, sqlite_store):
    rejects = tmp_path / "rejects.csv"
    text = "Dear {{name}} of {{city}}"
    assert (
        run("K17-rejects-round-trip.csv", "--yes", "--rejects", str(rejects), text=text).code == 0
    )
    with rejects.open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert [line[0] for line in table[1:]] == ["3", "4"]
    assert [line[-2] for line in table[1:]] == ["'-Ravi", "'@Home"]
    for line, number in zip(table[1:], ["+919820011224", "98200 11225"], strict=True):
        line[-3] = number
    with rejects.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    ended = run(rejects, "--dry-run", text=text)
    assert "it is an export of dispatcher" in ended.out
    assert "2 to send\n" in ended.out
    assert "Dear -Ravi of Pune" in ended.out
    assert "Dear @Home of Pune" in ended.out
    assert run(rejects, "--yes", text=text).code == 0
    assert len(rows(sqlite_store, CAMPAIGN)) == 2


def test_k19_rows_are_numbered_as_a_spreadsheet_does_and_cells_are_shown(run):
    ended = run("K19-row-numbers.csv", "--dry-run")
    assert "row 7: invalid: the number is too short for country code 91: '98200'" in ended.out
    assert "row 9: invalid: the number is too short for country code 91: '12345'" in ended.out
    found = understood(run("K19-row-numbers.csv", "--dry-run", "--json"))
    assert [(reject["row"], reject["cell"]) for reject in found["rejects"]] == [
        (7, "98200"), (9, "12345"),
    ]  # fmt: skip


def test_k20_a_tel_uri_is_a_number(run):
    assert "1 to send\n" in run("K20-tel-uri.csv", "--dry-run").out


# --- Hints ----------------------------------------------------------------------------------------


def test_recipients_are_counted_by_country_always(run, tmp_path):
    path = saved(tmp_path, "phone\n9820011223\n+447400123456\n+447400123457\n")
    ended = run(path, "--dry-run", text="Hi")
    assert "countries: +44 (GB, GG, …) 2, +91 (IN) 1" in ended.out
    found = understood(run(path, "--dry-run", "--json", text="Hi"))
    assert found["countries"] == {"+44": 2, "+91": 1}


def test_a_country_given_comes_before_the_accounts(run, tmp_path):
    path = saved(tmp_path, "phone\n07400 123456\n")
    assert "countries: +91 (IN) 1" in run(path, "--dry-run", text="Hi").out
    ended = run(path, "--yes", "--country", "gb", text="Hi")
    assert ended.code == 0
    assert "countries: +44 (GB, GG, …) 1" in ended.out


@pytest.mark.parametrize("written", ["{name}", "[name]", "%name%", "((name))"])
def test_a_placeholder_of_another_program_is_refused(run, written):
    ended = run("K19-row-numbers.csv", "--yes", text=f"Dear {written}")
    assert ended.code == 3
    assert f"the text has {written}, and everybody would get it as it is" in ended.err


def test_a_typed_line_break_is_refused(run):
    ended = run("K19-row-numbers.csv", "--yes", text=r"Dear {{name}},\nbye")
    assert ended.code == 2
    assert r"--text has \n" in ended.err
    assert "--text-file" in ended.err


def test_words_of_machines_are_said(run, tmp_path):
    path = saved(tmp_path, "phone,name\n9820011223,NULL\n9820011224,#N/A\n")
    ended = run(path, "--dry-run", text="Dear {{name|customer}}, {firstname}")
    assert "note: 2 cells say NULL, #N/A, which counts as empty" in ended.out
    assert "note: the text has {firstname}, which is sent as it is" in ended.out
    assert "Dear customer" in ended.out


def test_names_that_another_program_spoilt_are_said(run, tmp_path):
    path = saved(tmp_path, "phone,name\n9820011223,ZoÃ«\n")
    ended = run(path, "--dry-run")
    assert "note: row 2 has ZoÃ«, which was probably Zoë" in ended.out


def test_titles_and_repeated_headers_are_said(run, tmp_path):
    path = saved(
        tmp_path, "Customers of spring\n\nphone,name\n9820011223,A\nphone,name\n9820011224,B\n"
    )
    ended = run(path, "--dry-run")
    assert "header in row 3" in ended.out
    assert "left out above the header: Customers of spring" in ended.out
    assert "left out, since it repeats the header: row 5" in ended.out
    assert "2 to send\n" in ended.out


def test_a_delimiter_that_is_not_sure_is_refused_in_a_script(run, tmp_path):
    path = saved(tmp_path, "a;phone,name\nx;98200,b\ny;98201,c\n")
    ended = run(path, "--yes", "--column", "name", text="Hi")
    assert (ended.code, "--delimiter" in ended.err) == (3, True)


# --- What the program writes itself ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["NULL", "'-10 % today", '="x"', "a\u200bb", "\ufeffHi", "#N/A", "a;b;c", "Hi, {name}"]
)
def test_a_single_message_is_sent_as_it_is(run, sqlite_store, tmp_path, text):
    run("K19-row-numbers.csv", "--dry-run")  # writes the configuration
    config = str(tmp_path / "dispatcher.toml")
    args = ("send", "9820011223", text, "--account", "main")
    ended = in_process("--config", config, *args, folder=tmp_path)
    assert ended.code == 0, ended.err
    (message,) = rows(sqlite_store, MESSAGE)
    assert json.loads(message.variables) == [text]


# --- Workbooks, JSON Lines, gzip ------------------------------------------------------------------

OFFICE = FIELD.parent / "office"


def test_a_workbook_says_its_sheet_and_what_was_noticed(run):
    ended = run(OFFICE / "club.xlsx", "--dry-run", text="Dear {{name}} {{joined|}} {{code|}}")
    assert ended.code == 0, ended.err
    assert (
        "club.xlsx: 7 rows, phone column 'Mobile' (Excel workbook)\n"
        "  read as: Excel workbook, sheet 'Contacts' (of 3 sheets), header in row 3\n"
        "    left out above the header: Members of the club\n"
    ) in ended.out
    unwrapped = " ".join(ended.out.split())
    for note in (
        "other sheets have data too, and are not read: 'Notes & sums' (1 row), 'Old' (2 rows, hid",
        "1 row is hidden in the workbook, and sent to as well, unless --hidden-rows skip: row 6",
        "cells are merged, and only the first of them has their value: row 11",
        "2 cells of the phone column are not text: zeros or a + in front may be lost",
        "dates are written as 2026-12-24 in texts: column Joined",
        "numbers that are shown with zeros in front are read without them: column Code",
    ):
        assert note in unwrapped
    found = understood(run(OFFICE / "club.ods", "--dry-run", "--json"))["file"]
    assert (found["format"], found["sheet"], found["sheet_is_sure"]) == ("ods", "Contacts", False)
    assert (found["header_row"], found["hidden_rows"], found["merged_rows"]) == (3, [6], [1, 11])
    assert found["sheets"][1] == {"name": "Notes & sums", "hidden": False, "rows": 1}


def test_a_script_is_asked_for_the_sheet_where_several_have_data(run, sqlite_store):
    ended = run(OFFICE / "club.xlsx", "--yes")
    assert ended.code == 3
    assert "2 sheets of the workbook have data: 'Contacts' (13 rows), 'Notes" in ended.err
    assert rows(sqlite_store, CAMPAIGN) == []
    ended = run(OFFICE / "club.xlsx", "--yes", "--sheet", "contacts", "--hidden-rows", "send")
    assert ended.code == 0


@pytest.mark.parametrize("name", ["filtered.xlsx", "filtered.ods"])
def test_nobody_is_texted_unasked_whom_a_filter_hides(run, sqlite_store, name):
    text = "Hi {{Name}}"
    shown = run(OFFICE / name, "--dry-run", text=f"{text} {{{{Do not contact|}}}}")
    words = " ".join(shown.out.split())
    assert "4 rows are hidden in the workbook, and sent to as well, unless --hidden-rows" in words
    assert "hidden in the workbook: column Do not contact" in words
    assert "12 to send" in words
    refused = run(OFFICE / name, "--yes", text=text)
    assert refused.code == 3
    assert "4 rows of the sheet are hidden, as a filter does: row 4, 7, 10, 13" in refused.err
    assert "--hidden-rows skip to leave them out, or --hidden-rows send" in refused.err
    assert rows(sqlite_store, CAMPAIGN) == []
    skipped = run(OFFICE / name, "--yes", "--hidden-rows", "skip", text=text)
    assert skipped.code == 0, skipped.err
    assert "4 rows are hidden in the workbook, and left out: row 4, 7, 10, 13" in skipped.out
    assert len(rows(sqlite_store, MESSAGE)) == 8
    assert run(OFFICE / name, "--yes", "--hidden-rows", "send", text=text).code == 0
    assert len(rows(sqlite_store, MESSAGE)) == 8 + 12


def test_the_same_list_in_other_formats_is_the_same_campaign(run, tmp_path):
    people = [["phone", "name"], ["+919820011240", "Asha"], ["9820011241", "Ravi"]]
    book = xlsx(
        tmp_path / "people.xlsx", {"A": sheet_of([people[0], [919820011240, "Asha"], people[2]])}
    )
    assert run(book, "--yes").code == 0
    lines = "".join(json.dumps(dict(zip(people[0], row, strict=True))) + "\n" for row in people[1:])
    table = "".join(",".join(row) + "\n" for row in people)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(table.encode()))
    for same in (saved(tmp_path, table), saved(tmp_path, lines, name="people.jsonl"), packed):
        ended = run(same, "--yes")
        assert ended.code == 3, ended.out
        assert "the same recipients and text were submitted as campaign 1" in ended.err


def test_rejects_of_a_workbook_are_mended_and_submitted_as_they_are(run, tmp_path):
    book = xlsx(
        tmp_path / "people.xlsx",
        {"A": sheet_of([["Mobile", "name"], [9820011240.0, "Asha"], [982001, "=Ravi"]])},
    )
    rejects = tmp_path / "rejects.csv"
    assert run(book, "--yes", "--rejects", str(rejects)).code == 0
    mended = rejects.read_text("utf-8").replace(",982001,", ",9820011241,")
    rejects.write_text(mended, "utf-8")
    ended = run(rejects, "--dry-run")
    assert "1 to send" in ended.out
    assert "Dear =Ravi" in ended.out


def test_hostile_names_in_a_workbook_reach_no_terminal(run, tmp_path):
    name = "\x1b[31mred\u202e"
    people = sheet_of([["phone", "name"], ["9820011240", "\u202eAsha"]])
    more = sheet_of([["x"]])
    for sheet in ("A\u202eB", "=1+1", "<script>"):
        book = xlsx(tmp_path / "people.xlsx", {sheet: people, "more": more})
        ended = run(book, "--dry-run")
        assert ended.code == 0, ended.err
        assert "\u202e" not in ended.out
        ended = run(book, "--sheet", name, "--dry-run")
        assert ended.code == 3
        assert "\x1b" not in ended.err
        assert "\u202e" not in ended.err


def test_json_lines_are_read_from_a_file_and_said(run, tmp_path):
    lines = '{"mobile": 9820011240, "name": "Asha", "tags": [1]}\n{"mobile": "12", "name": "R"}\n'
    ended = run(saved(tmp_path, lines, name="people.csv"), "--dry-run")
    assert ended.code == 0, ended.err
    assert (
        "read as: JSON Lines, an object in each line; rows have the numbers of lines" in ended.out
    )
    assert "left out, since there are lists or objects in them: tags" in ended.out
    assert "the name of the file says that it is a table of text (CSV), and it is JSON Lines" in (
        " ".join(ended.out.split())
    )
    assert "row 2: invalid" in ended.out
