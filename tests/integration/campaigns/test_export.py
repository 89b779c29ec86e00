"""The export: one line per row of the file, in its order, and the same on both databases."""

import csv
import io
from contextlib import closing
from decimal import Decimal

import pytest

from dispatcher.campaigns.export import write_export
from dispatcher.policy.verdict import Accepted
from dispatcher.recipients.export_cells import (
    EXPORT_COLUMNS,
    FORMULA_SIGNS,
    quote_formula,
    unquote_formula,
)
from dispatcher.status import AttemptOutcome
from dispatcher.store import messages
from dispatcher.store.engine import Store
from dispatcher.store.tables import CAMPAIGN
from tests.support.stores import (
    POLL,
    add_account,
    begin,
    campaign_of,
    change,
    claimed,
    close,
    later,
    order,
    provider,
    settle,
    submit,
    verdict,
)

FILE = """phone,name,note
9800000001,Asha,=1+1
9800000002,Zoë ✓,plain
12,nobody,+49
9800000003,Ravi
9800000001,again,@x
9800000004,✓,"a, ""quoted"" cell"
"""


def exported(store, campaign_id, **values):
    out = io.StringIO(newline="")
    count = write_export(store, campaign_of(store, campaign_id), out, **values)
    lines = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert len(lines) == count
    return lines


def sent(store):
    """A campaign whose first batch was answered, with a price and a refusal."""
    add_account(store)
    campaign_id = submit(store, order(FILE, text="Dear {{name}}"))
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state="running")
    held = claimed(store)
    (attempt,) = begin(store, held)
    said = type(verdict())(
        outcome=AttemptOutcome.ANSWERED,
        accepted=[Accepted(held.first_seq, "-7", Decimal("0.25"))],
        rejected=verdict(rejected=[held.first_seq + 1]).rejected,
        job_id="=job",
    )
    settle(store, held, attempt, said, poll=POLL, now=later(2))
    close(store, held)
    return campaign_id


def test_lines_keep_the_files_order_across_encodings_and_rejects(store):
    campaign_id = submit(store, order(FILE, text="Dear {{name}}"))
    lines = exported(store, campaign_id)
    assert [(line["row"], line["state"]) for line in lines] == [
        ("2", "pending"),
        ("3", "pending"),
        ("4", "invalid"),
        ("5", "pending"),
        ("6", "duplicate"),
        ("7", "pending"),
    ]
    assert [line["name"] for line in lines] == ["Asha", "Zoë ✓", "nobody", "Ravi", "again", "✓"]
    assert {line["seq"] for line in lines if line["state"] == "pending"} == {"0", "1", "2", "3"}
    assert lines[2]["msisdn"] == ""
    assert lines[4]["msisdn"] == "919800000001"
    assert "same number" in lines[4]["error"]


def test_every_line_has_the_same_number_of_cells(store):
    campaign_id = submit(store, order(FILE, text="Dear {{name}}"))
    out = io.StringIO(newline="")
    write_export(store, campaign_of(store, campaign_id), out)
    lines = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert lines[0] == [*EXPORT_COLUMNS, "phone", "name", "note"]
    assert {len(line) for line in lines} == {len(EXPORT_COLUMNS) + 3}


def test_cells_that_a_spreadsheet_would_run_are_quoted(store):
    lines = exported(store, sent(store))
    assert [line["note"] for line in lines] == [
        "'=1+1", "plain", "'+49", "", "'@x", 'a, "quoted" cell',
    ]  # fmt: skip
    assert (lines[0]["provider_message_id"], lines[0]["job_id"]) == ("'-7", "'=job")


@pytest.mark.parametrize(
    "first", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"]
)
def test_a_cell_that_begins_like_a_formula_gets_an_apostrophe(first):
    assert quote_formula(f"{first}cmd") == f"'{first}cmd"
    assert quote_formula(f"a{first}") == f"a{first}"
    for blank in (" ", "\u00a0", "\t", "\u200b", "\ufeff", "\u3000", "\u2066", " \u00a0\u200b "):
        assert quote_formula(f"{blank}{first}cmd") == f"'{blank}{first}cmd"
        assert quote_formula(f"{blank}a{first}") == f"{blank}a{first}" or blank == "\t"
    assert quote_formula("") == ""
    assert quote_formula(None) is None


def test_a_line_has_the_outcome_of_its_recipient(store):
    lines = exported(store, sent(store))
    first, refused = lines[0], lines[3]
    assert first == first | {
        "seq": "0", "msisdn": "919800000001", "state": "submitted", "account": "main",
        "parts": "1", "cost": "0.25", "attempts": "1", "error": "", "error_code": "",
        "submitted_at": "2030-05-06T12:00:00.000Z", "final_at": "",
    }  # fmt: skip
    assert refused == refused | {
        "state": "rejected", "error": "blocked", "error_code": "42", "cost": "", "job_id": "",
        "submitted_at": "", "final_at": "2030-05-06T12:00:02.000Z",
    }  # fmt: skip


def test_without_kept_columns_the_export_has_only_its_own(store):
    campaign_id = submit(store, order(FILE, text="Dear {{name}}", keep_columns=False))
    out = io.StringIO(newline="")
    write_export(store, campaign_of(store, campaign_id), out)
    lines = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert {len(line) for line in lines} == {len(EXPORT_COLUMNS)}
    assert len(lines) == 7


def test_rejects_alone_are_exported_in_their_order(store):
    campaign_id = submit(store, order(FILE, text="Dear {{name}}"))
    lines = exported(store, campaign_id, rejects_only=True)
    assert [(line["row"], line["state"]) for line in lines] == [
        ("4", "invalid"),
        ("6", "duplicate"),
    ]


def test_more_rejects_than_a_page_are_all_exported(store):
    content = "phone\n" + "".join(f"{n}\n" for n in range(1, 4501)) + "9800000001\n"
    campaign_id = submit(store, order(content))
    lines = exported(store, campaign_id)
    assert [int(line["row"]) for line in lines] == list(range(2, 4503))


def test_batches_of_several_encodings_keep_the_order(store):
    names = [["plain", "✓"][n * n % 7 % 2] for n in range(350)]
    content = "phone,name\n" + "".join(f"{9_800_000_000 + n},{x}\n" for n, x in enumerate(names))
    campaign_id = submit(store, order(content, text="Dear {{name}}"))
    lines = exported(store, campaign_id)
    assert [int(line["row"]) for line in lines] == list(range(2, 352))
    assert [line["name"] for line in lines] == names
    assert [int(line["msisdn"]) for line in lines] == [919_800_000_000 + n for n in range(350)]


@pytest.mark.postgres
def test_an_export_is_the_same_on_both_databases(sqlite_url, postgres_url):
    exports = []
    for url in (sqlite_url, postgres_url):
        with closing(Store(url)) as store:
            lines = exported(store, sent(store))
            exports.append(lines)
    assert exports[0] == exports[1]


@pytest.mark.parametrize("sign", FORMULA_SIGNS)
@pytest.mark.parametrize(
    "cell",
    [
        "{}1",
        "'{}1",
        "''{}1",
        "a{}1",
        "'a{}",
        "{}",
        "'{}",
        " {}1",
        "' {}1",
        "\u00a0'{}1",
        "\u200b{}1",
    ],
)
def test_a_quoted_cell_comes_back_as_it_was(sign, cell):
    given = cell.format(sign)
    quoted = quote_formula(given)
    assert not quoted.startswith(sign)
    assert unquote_formula(quoted) == given


def test_batches_of_several_encodings_come_in_the_file_s_order(store):
    """Also where a page ends in mid-encoding, and most batches are of one recipient."""
    add_account(store)
    names = ["Zoë ✓" if n % 3 else "Asha" for n in range(40)]
    people = "".join(f"98000000{n:02d},{name}\n" for n, name in enumerate(names))
    people = order(f"phone,name\n{people}", text="Dear {{name}}")
    one_each = provider(country="IN", sender="SENDER", max_recipients=1)
    campaign_id = submit(store, people, one_each)
    lines = exported(store, campaign_id)
    assert [line["name"] for line in lines] == names
    assert [int(line["row"]) for line in lines] == [*range(2, 42)]
    with store.read() as conn:
        streams = messages.list_batch_streams(conn, campaign_id)
    assert sorted(len(page) for stream in streams for page in stream.pages()) == [14, 26]
