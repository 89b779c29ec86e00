"""Files as people have them, through `campaign submit`: what is read, said, asked and refused."""

import csv
import json
from pathlib import Path

import pytest

from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.integration.cli.test_what_is_told import CONFIG
from tests.support.cli import in_process
from tests.support.stores import rows

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
