"""Calls the command or the webhook: once, within a time limit, and kills what hangs."""

import contextlib
import hashlib
import hmac
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Final

from dispatcher.config.notify_settings import NotifySettings
from dispatcher.store.rows import NoticeRow

#: What a receiver checks a posted body by; README of the configuration.
SIGNATURE: Final = "X-Dispatcher-Signature"
_LARGEST_SECRET: Final = 4096


class DeliveryFailed(Exception):
    """A call that did not succeed; the text says why, without what the other side said."""


def deliver_notice(
    settings: NotifySettings, row: NoticeRow, clock: Callable[[], float] = time.time
) -> None:
    """Call the way that the row names. Raises DeliveryFailed."""
    body = row.body.encode()
    if row.channel == "command":
        _run_command(settings, row, body)
        return
    from dispatcher.notify.webhook import post_event

    assert settings.url is not None
    headers = {
        "Content-Type": "application/json",
        "X-Dispatcher-Event": row.kind,
        "X-Dispatcher-Event-Id": row.event_id,
        SIGNATURE: sign_body(read_secret(settings), body, int(clock())),
    }
    post_event(settings.url, body, headers, settings.timeout_s)


def sign_body(secret: bytes, body: bytes, at: int) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 (RFC 2104) of the seconds, a dot, and the body."""
    digest = hmac.new(secret, str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"


def read_secret(settings: NotifySettings) -> bytes:
    """The key, from the configuration or its file. Raises DeliveryFailed."""
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    path = settings.secret_file
    assert path is not None
    try:
        with path.open("rb") as file:
            secret = file.read(_LARGEST_SECRET).strip()
    except OSError as error:
        raise DeliveryFailed(f"{path} cannot be read: {error.strerror}") from None
    if len(secret) < 16:
        raise DeliveryFailed(f"{path} has fewer than 16 characters")
    return secret


def _run_command(settings: NotifySettings, row: NoticeRow, body: bytes) -> None:
    program = settings.command[0]
    env = {**os.environ, "DISPATCHER_EVENT": row.kind, "DISPATCHER_EVENT_ID": row.event_id}
    try:
        process = subprocess.Popen(
            settings.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise DeliveryFailed(f"{program} cannot be started: {error.strerror}") from None
    try:
        process.communicate(body, timeout=settings.timeout_s)
    except subprocess.TimeoutExpired:
        # Its own children too: the session that it leads has one group at first.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DeliveryFailed(f"{program} took longer than {settings.timeout_s:g} s") from None
    if process.returncode != 0:
        raise DeliveryFailed(f"{program} ended with {process.returncode}")
