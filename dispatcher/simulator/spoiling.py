"""Carries out faults of an answer: other codes and bodies, half an answer, a reset connection."""

import socket
import struct
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from aiohttp import web

from dispatcher.simulator.families.base import Family, Reply
from dispatcher.simulator.faults import FaultParams

_HTML: Final = "<!DOCTYPE html><html><body>The service will be back soon.</body></html>"


def to_response(reply: Reply) -> web.Response:
    """`reply` without any fault."""
    return web.Response(
        body=reply.body,
        status=reply.status,
        headers=reply.headers,
        content_type="application/json",
    )


def spoilt_response(
    request: web.Request, family: Family, name: str, params: FaultParams
) -> web.StreamResponse:
    """The answer that fault `name` gives, whether the request was accepted or not."""
    if name in {"reset_before", "reset_after"}:
        return cut_connection(request, reset=True)
    if name == "eof_after":
        return cut_connection(request)
    if name == "redirect":
        return web.Response(status=302, headers={"Location": params["location"]})
    pages = {"not_found": 404, "too_large": 413}
    if name in pages or name.startswith(("error_", "html_")):
        status = pages.get(name) or params["status"]
        return web.Response(status=status, text=_HTML, content_type="text/html")
    if name == "throttled":
        headers = _retry_after(params["retry_after"], params["form"])
        body = family.error_reply("Too Many Requests", 429).body
        return to_response(Reply(body=body, status=429, headers=headers))
    words = {"credentials": family.credentials_text, "credit": family.credit_text}
    return to_response(family.error_reply(words.get(name) or params["text"], params["status"]))


async def send_half(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Half of `reply` under the length of the whole; then the connection is closed."""
    half = web.StreamResponse(headers={"Content-Type": "application/json"})
    half.content_length = len(reply.body)
    await half.prepare(request)
    await half.write(reply.body[: len(reply.body) // 2])
    cut_connection(request)
    return half


def cut_connection(request: web.Request, *, reset: bool = False) -> web.StreamResponse:
    """Close the connection without an answer: by a FIN, or by a TCP reset."""
    transport = request.transport
    if transport is not None and reset:
        no_linger = struct.pack("ii", 1, 0)  # makes close() send RST (socket(7), SO_LINGER)
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        transport.abort()
    elif transport is not None:
        transport.close()
    return web.Response()


def _retry_after(seconds: float, form: str) -> dict[str, str]:
    """`Retry-After` in seconds, as a date (RFC 9110, 10.2.3), or none."""
    if form == "none":
        return {}
    if form == "date":
        when = datetime.now(UTC) + timedelta(seconds=seconds)
        return {"Retry-After": format_datetime(when, usegmt=True)}
    return {"Retry-After": str(seconds)}
