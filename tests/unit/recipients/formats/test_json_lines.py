"""JSON Lines and gzip as recipient files."""

import gzip
import io

import pytest

from dispatcher.errors import Refused
from dispatcher.recipients.formats import gzip_files
from dispatcher.recipients.reader import open_recipients


def read(content):
    source = io.BytesIO(content.encode() if isinstance(content, str) else content)
    with open_recipients(source) as file:
        return file.file_headers, [(row.number, row.cells) for row in file], file.found_format


def refusal(content):
    with pytest.raises(Refused) as caught:
        read(content)
    assert caught.value.hint
    return caught.value.message.removeprefix("standard input: ")


def test_an_object_in_each_line_is_a_row_with_the_number_of_its_line():
    headers, rows, found = read(
        '\ufeff{"phone": "+919820011240", "name": "Asha", "vip": true}\n'
        "\n"
        '{"name": "Ravi\\n\\"RJ\\", Jr.", "phone": 919820011241, "city": null, "vip": false}\r\n'
        '{"phone": 9820011242.0, "amount": 12345678901234567890.10}'
    )
    assert headers == ("phone", "name", "vip", "city", "amount")
    assert rows == [
        (1, ["+919820011240", "Asha", "true", "", ""]),
        (3, ["919820011241", 'Ravi\n"RJ", Jr.', "false", "", ""]),
        (4, ["9820011242.0", "", "", "", "12345678901234567890.10"]),
    ]
    assert found.name == "jsonl"


def test_fields_with_lists_and_objects_are_left_out_and_said():
    headers, _, found = read('{"phone": "1", "tags": []}\n{"phone": "2", "tags": "a", "at": {}}\n')
    assert headers == ("phone",)
    assert found.left_out == ["tags", "at"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"phone": "1"}\n{"phone": "2"', "line 2 is not a JSON object"),
        ('{"phone": "1"}\n\n["2"]\n', "line 3 is not a JSON object"),
        ('{"phone":\n "1"}\n', "line 1 is not a JSON object"),
        ('{"phone": "1", "phone": "2"}\n', "line 1 has the field 'phone' twice"),
        ('{"phone": "1", "name": "\\ud83d"}\n', r"line 1 has half a character, such as \ud83d"),
        ('{"phone": "1", "a": ' + "[" * 100_000 + "}\n", "line 1 is not a JSON object"),
        ("{" + ",".join(f'"f{i}": 1' for i in range(1001)) + "}\n",
         "line 1 makes more than 1000 different fields"),
    ],
)  # fmt: skip
def test_what_is_not_an_object_is_refused_with_its_line(content, why):
    assert refusal(content) == why


def test_a_line_that_is_not_utf_8_is_refused():
    assert refusal(b'{"phone": "1"}\n{"phone": "\xff"}\n').startswith("line 2 is not valid UTF-8")


@pytest.mark.parametrize(
    "content", [b"phone;name\n9820011240;Asha\n", b'{"phone": "9820011240", "name": "Asha"}\n']
)
def test_a_gzip_file_is_read_as_what_is_in_it(content):
    headers, rows, found = read(gzip.compress(content))
    assert headers == ("phone", "name")
    assert [cells for _, cells in rows] == [["9820011240", "Asha"]]
    assert found.is_gzip


def test_a_gzip_file_that_is_not_whole_or_packed_twice_is_refused():
    packed = gzip.compress(b"phone\n9820011240\n" * 1000)
    assert "damaged or not complete" in refusal(packed[:-9])
    assert "damaged or not complete" in refusal(packed[:30] + b"\0\0" + packed[32:])
    assert "packed twice" in refusal(gzip.compress(packed))


def test_a_gzip_bomb_is_refused_before_it_fills_the_disk():
    bomb = gzip.compress(b"\0" * (80 * 1024**2))
    with pytest.raises(Refused, match="MiB in it"):
        gzip_files.unpack_gzip(io.BytesIO(bomb))
    with pytest.raises(Refused, match="MiB in it"):
        gzip_files.unpack_gzip(io.BytesIO(gzip.compress(b"phone\n")), largest=5)


def test_a_name_that_promises_gzip_is_noticed(tmp_path):
    path = tmp_path / "people.csv.gz"
    path.write_text("phone\n9820011240\n")
    with open_recipients(path) as file:
        assert file.found_format.misnamed == "a gzip file"
    path.write_bytes(gzip.compress(b"phone\n9820011240\n"))
    with open_recipients(path) as file:
        assert file.found_format.misnamed is None
