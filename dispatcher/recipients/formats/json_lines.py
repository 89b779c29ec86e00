"""JSON Lines as a table: an object in each line is a row, and its names are the columns."""

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final, TypeAlias, cast

from dispatcher.errors import FileRefused
from dispatcher.recipients.formats.found import FoundFormat, Table
from dispatcher.recipients.lines import LONGEST_LINE

_MOST_FIELDS: Final = 1000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_HINT: Final = 'JSON Lines has an object in each line: {"phone": "+919820011223", "name": "Asha"}'
_Value: TypeAlias = "str | bool | list[_Value] | dict[str, _Value] | None"
_Object: TypeAlias = dict[str, _Value]


def read_json_lines(stream: BinaryIO) -> Table:
    """The objects as a table of text; row 1 is line 1. Reads `stream` twice, and closes nothing.

    Fields that have a list or an object somewhere are left out. Numbers are taken as they are
    written, so that no digit is lost. Raises FileRefused, naming the line, for anything else.
    """
    fields: dict[str, bool] = {}
    for number, item in _read_objects(stream):
        for name, value in item.items():
            fields[name] = fields.get(name, False) or isinstance(value, list | dict)
        if len(fields) > _MOST_FIELDS:
            raise FileRefused(
                f"line {number} makes more than {_MOST_FIELDS} different fields", _HINT
            )
    names = [name for name, is_nested in fields.items() if not is_nested]
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        _write_table(stream, names, copy)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    left_out = [name for name, is_nested in fields.items() if is_nested]
    return Table(copy, FoundFormat(name="jsonl", first_number=0, left_out=left_out))


def _write_table(stream: BinaryIO, names: list[str], copy: BinaryIO) -> None:
    text = io.TextIOWrapper(copy, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    written = 0
    for number, item in _read_objects(stream):
        for _ in range(number - written - 1):  # blank lines have numbers too
            writer.writerow([])
        try:
            writer.writerow([_as_text(item.get(name)) for name in names])
        except UnicodeEncodeError:
            raise FileRefused(
                f"line {number} has half a character, such as \\ud83d", _HINT
            ) from None
        written = number
    text.detach()


def _as_text(value: _Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return ""


def _read_objects(stream: BinaryIO) -> Iterator[tuple[int, _Object]]:
    """Each line that is not blank, with its number."""
    stream.seek(0)
    decode = json.JSONDecoder(
        object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str, parse_constant=str
    ).decode
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip():
            continue
        try:
            item: object = decode(line.decode("utf-8"))
        except UnicodeDecodeError:
            raise FileRefused(f"line {number} is not valid UTF-8, as JSON must be", _HINT) from None
        except _RepeatedField as repeated:
            raise FileRefused(
                f"line {number} has the field {str(repeated)!r} twice", _HINT
            ) from None
        except (ValueError, RecursionError):
            item = None
        if not isinstance(item, dict):
            raise FileRefused(f"line {number} is not a JSON object", _HINT)
        yield number, cast("_Object", item)


class _RepeatedField(ValueError):
    """An object has two values under one name, and nobody knows which one is meant."""


def _refuse_repeated(pairs: list[tuple[str, _Value]]) -> _Object:
    item = dict(pairs)
    if len(item) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedField(next(name for name in names if names.count(name) > 1))
    return item
