"""The fields of a request: from its query, JSON, urlencoded or multipart body."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

import orjson
from aiohttp import web


class BadBody(Exception):
    """The body is not what its Content-Type says."""


def media_type(headers: Mapping[str, str]) -> str:
    """The type of the body; one provider's document prints the header as `contentType`."""
    given = headers.get("contentType") or headers.get("Content-Type", "application/octet-stream")
    return given.partition(";")[0].strip().lower()


async def read_fields(request: web.Request) -> dict[str, object]:
    """The fields of `request` by name: JSON values keep their types, others are strings.

    The last value of a repeated name counts; an empty body has no fields. Raises BadBody, or
    ConnectionError where the client closes before the body is complete.
    """
    content_type = media_type(request.headers)
    if request.method in {"GET", "HEAD"}:
        return dict(request.query)
    try:
        if content_type == "multipart/form-data":
            return dict(await request.post())
        body = await request.read()
        data = _decode_body(content_type, body) if body else {}
    except ValueError as error:  # orjson's, the decoder's and the form parsers' errors
        raise BadBody(f"the body is not {content_type}: {error}") from error
    if not isinstance(data, dict):
        raise BadBody("the body is not a JSON object")
    return data


def _decode_body(content_type: str, body: bytes) -> object:
    if content_type == "application/json":
        return orjson.loads(body)
    if content_type != "application/x-www-form-urlencoded":
        raise BadBody(f"the body is {content_type}, neither JSON nor a form")
    text = body.decode()
    return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))
