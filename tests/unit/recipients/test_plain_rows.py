"""Rows that are validated together become what they become one by one."""

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import Refused
from dispatcher.recipients.reader import open_recipients
from dispatcher.recipients.validation import RowValidator
from dispatcher.status import Encoding
from dispatcher.text.template import TextTemplate
from dispatcher.windows.recipient_zones import ZoneChoice, ZoneSource
from dispatcher.windows.zone_names import ZoneError
from tests.unit.recipients.test_tables import items

# So many valid rows are looked at one by one first.
FIRST = 1024
HEADER = "phone,name,city\n" + "".join(f"+9198{n:08d},Asha,Pune\n" for n in range(FIRST))
PHONES = [
    "9820011227", "+919820011228", "+919820011229",
    "9820011223", "+919820011223", "98200 11223", "098200 11223", "9820011224", "+4915112345678",
    "+49 1511 2345678", "tel:+4915112345678", "9800000007", "0044 7911 123456", "12", "", "none",
    "'+919820011225", "=\"9820011226\"", "98200٣٣٣٣٣", "+12125551234", "9820011223-3", "phone",
]  # fmt: skip
VALUES = [
    "Asha", "", " ", "Zoë", "Jürgen", "O’Neil", "अशा", "😀", "NULL", "{x}", "a|b", "x" * 150,
    "x" * 400, '"two\r\nlines"', '"a,b"', "[€]", "ZoÃ«", "\u200bAsha", "é" * 70, "name", "’अ",
]  # fmt: skip
TEXTS = [
    "Hello", "Dear {{name}}, {{city|there}}!", "{{name}}", "{{name|}}{{name|you}}",
    "नमस्ते {{name|x}}", "It’s {{name|x}}", "{{city}}\r\n{{name|x}}", "[{{name|😀}}]",
]  # fmt: skip
lines = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(PHONES), st.sampled_from(VALUES), st.sampled_from(VALUES)),
        st.sampled_from(
            [(), ("+919820011227",), ("+919820011228", "a"), ("9820011229", "a", "b", "c")]
        ),
        st.integers(0, 99_999).map(lambda n: (f"99000{n:05d}", "Ravi", "Goa")),
    ),
    max_size=40,
)
options = st.fixed_dictionaries(
    {
        "country": st.sampled_from(["IN", None]),
        "max_parts": st.sampled_from([None, 1]),
        "room_bytes": st.sampled_from([999, 120]),
        "normalizes": st.booleans(),
        "limit": st.sampled_from([None, FIRST + 5]),
        "zone_of": st.sampled_from([None, lambda _cells, number: zone(number)]),
    }
)


def zone(number):
    if number < 919800000000 + FIRST:
        return ZoneChoice("first", ZoneSource.NUMBER)
    if number % 7 == 1:
        raise ZoneError("a bad zone")
    return ZoneChoice("closed" if number % 7 == 2 else f"zone {number % 7}", ZoneSource.COLUMN)


def validator(file, text, given):
    return RowValidator(
        file,
        TextTemplate.parse(text).bind_columns(file.headers),
        sizes_of=lambda _numbers, texts: [len(text.encode()) for text in texts],
        zone_opens=lambda name: name != "closed",
        **given,
    )


def one_by_one(file, rows, limit):
    found = []
    for row in file:
        if limit is not None and rows.preview.valid >= limit:
            break
        if (item := rows.validate_row(row)) is not None:
            found.append(item)
    return found


def outcome(content, text, given, read):
    with open_recipients(io.BytesIO(content), delimiter=",", encoding="utf-8") as file:
        rows = validator(file, text, given)
        try:
            found = read(file, rows)
        except Refused as refusal:
            return refusal.message
        return found, rows.preview, rows.content_digest(), file.repeated_headers


@settings(max_examples=25, deadline=None)
@given(lines, st.sampled_from(TEXTS), options)
def test_blocks_agree_with_rows(rows, text, given):
    # A first column is needed in every line: an empty line is blank.
    content = (HEADER + "".join(",".join(row) + "\n" for row in rows)).encode()
    together = outcome(content, text, given, lambda _file, rows: items(rows))
    alone = outcome(content, text, given, lambda file, rows: one_by_one(file, rows, given["limit"]))
    assert together == alone


@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_many_odd_rows_agree_with_rows(seed):
    chance = random.Random(seed)
    # The last one is a second header, which ends everything.
    rows = [(chance.choice(PHONES[:-1]), chance.choice(VALUES), "Pune") for _ in range(60)]
    rows += [(f"99000{n:05d}",) for n in range(0, 60, 3)]
    rows += [(f"99000{n:05d}", chance.choice(VALUES), "Goa") for n in range(60)]
    chance.shuffle(rows)
    given = {
        "country": "IN",
        "max_parts": chance.choice([None, 1]),
        "room_bytes": chance.choice([999, 120]),
        "normalizes": seed % 2 == 0,
        "limit": None,
        "zone_of": (lambda _cells, number: zone(number)) if seed % 3 == 0 else None,
    }
    content = (HEADER + "".join(",".join(row) + "\n" for row in rows)).encode()
    text = TEXTS[seed % len(TEXTS)]
    together = outcome(content, text, given, lambda _file, rows: items(rows))
    assert together == outcome(content, text, given, lambda f, rows: one_by_one(f, rows, None))


def test_most_rows_are_validated_together():
    content = HEADER + "9900000001,Zoë,Goa\n+4915112345678,,Ulm\n9900000001,x,y\nnone,x,y\n"
    with open_recipients(io.BytesIO(content.encode())) as file:
        given = {"country": "IN", "max_parts": None, "room_bytes": 999}
        rows = validator(file, "Dear {{name|you}}", given)
        *_, last = rows.read_blocks()
    taken = last.accepted
    assert [*taken.rows] == [FIRST + 2, FIRST + 3]
    assert [*taken.texts] == ["Dear Zoë", "Dear you"]
    assert [*taken.encodings] == [Encoding.UCS2, Encoding.GSM7]
    assert [*taken.variables] == ['["Zoë"]', '[""]']
    assert [reject.row for reject in last.rejected] == [FIRST + 4, FIRST + 5]


def test_a_line_with_a_stray_quote_is_read_as_it_stands():
    content = f'{HEADER}9900000001,a,b\n9900000009,"a"b,x\n9900000010,c,d\n'.encode()
    with open_recipients(io.BytesIO(content), delimiter=",") as file:
        *_, repaired, last = file.read_blocks()
    assert repaired.cells[-1] == ["9900000009", "ab", "x"]
    assert [*last.numbers] == [FIRST + 4]


def test_rows_before_a_broken_one_come_first():
    content = f'{HEADER}9900000001,a,b\n9900000009,"a\n'.encode()
    with open_recipients(io.BytesIO(content), delimiter=",") as file:
        blocks = file.read_blocks()
        assert [len(next(blocks).cells), len(next(blocks).cells)] == [FIRST, 1]
        with pytest.raises(Refused, match=f"row {FIRST + 3} has a quote that is not closed"):
            next(blocks)
