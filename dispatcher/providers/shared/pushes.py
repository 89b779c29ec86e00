"""Reads what a provider pushes: JSON, a form, or the query of the URL, as entries of fields."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeGuard
from urllib.parse import parse_qsl

from dispatcher.errors import ProviderError, PushRefused
from dispatcher.providers.shared.answers import read_json
from dispatcher.types import HttpResponse, InboundPush

#: Entries of one push. More are refused as a whole, so that none is lost silently.
MOST_ENTRIES: Final = 1000
_MOST_FIELDS: Final = 100
_FIELD_NAME: Final = re.compile("[A-Za-z][A-Za-z_-]{0,30}")
_LONGEST_NAMES: Final = 300
_JSON_STARTS: Final = (b"{", b"[")


def read_push_entries(push: InboundPush, *lists: str) -> Sequence[Mapping[str, Any]]:
    """The entries: of a JSON list, or of one of the fields `lists`; else the push is one entry.

    Raises PushRefused for what is neither JSON nor a form, and for a push without fields.
    """
    body = push.body.strip()
    entries: Sequence[object]
    if not body.startswith(_JSON_STARTS):
        entries = [_read_form(body, push.query)]
    else:
        found = _read_json(body)
        inner = [found.get(name) for name in lists] if _is_object(found) else [found]
        entries = next((one for one in inner if isinstance(one, list)), [found])
    if not 0 < len(entries) <= MOST_ENTRIES:
        _refuse(f"it has {len(entries)} entries; 1 to {MOST_ENTRIES} are read")
    fields = [entry for entry in entries if _is_object(entry) and entry]
    if len(fields) != len(entries):
        _refuse("it has no fields")
    return fields


def name_fields(entry: Mapping[str, Any]) -> str:
    """The names of an entry's fields, for a log; what could be a value is left out."""
    names = [name if _FIELD_NAME.fullmatch(name) else "?" for name in entry]
    return ", ".join(sorted({*names}))[:_LONGEST_NAMES]


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _read_json(body: bytes) -> object:
    try:
        return read_json(HttpResponse(status=200, body=body))
    except ProviderError:
        _refuse("its JSON is broken")


def _read_form(body: bytes, query: str) -> Mapping[str, str]:
    try:
        text = body.decode() or query
        return dict(parse_qsl(text, strict_parsing=True, max_num_fields=_MOST_FIELDS))
    except ValueError:  # a UnicodeDecodeError is one
        _refuse("it is neither JSON nor a form")


def _refuse(why: str) -> NoReturn:
    raise PushRefused(f"the push cannot be read: {why}")
