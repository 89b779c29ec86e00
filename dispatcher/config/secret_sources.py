"""Secrets that are not in the configuration: read from a file, or printed by a command.

`KEY_file` and `KEY_command` stand for KEY, for every key that holds a secret.
"""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from dispatcher import urls
from dispatcher.config.sources import Place, RawConfig, is_table
from dispatcher.errors import ConfigError, SecretUnreadable

#: Keys that hold a secret, in any table.
SECRET_KEYS: Final = ("api_key", "api_token", "api_password", "password", "proxy", "secret")
#: A key of its own, which is read again for each notice.
_OWN_KEYS: Final = frozenset({("notify", "secret_file")})
_WITH_PASSWORD: Final = ("store", "broker")
_LARGEST_BYTES: Final = 64 * 1024
_COMMAND_S: Final = 10.0


class _Unusable(Exception):
    """Why there is no secret, as the end of a sentence; and what to do."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


def read_secrets(raw: RawConfig) -> RawConfig:
    """The configuration with the secrets that its files and commands give.

    A command runs once in a process. Raises ConfigError, which never shows what was read.
    """
    folder = Path.cwd() if raw.path is None else raw.path.parent
    found: set[Place] = set()
    values = {
        key: _read_secrets_of(table, (key,), raw, folder, found) if is_table(table) else table
        for key, table in raw.values.items()
    }
    for section in _WITH_PASSWORD:
        table = values.get(section)
        if is_table(table) and "password" in table:
            values[section] = _merge_password(table, section, raw)
            if (section, "password") in found | raw.references | raw.variables.keys():
                found.add((section, "url"))
    return replace(raw, values=values, references=raw.references | found)


def _read_secrets_of(
    table: Mapping[str, object], place: Place, raw: RawConfig, folder: Path, found: set[Place]
) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in table.items():
        base, _, way = key.rpartition("_")
        if is_table(value):
            values[key] = _read_secrets_of(value, (*place, key), raw, folder, found)
        elif base in SECRET_KEYS and way in _WAYS and (*place, key) not in _OWN_KEYS:
            others = {base, f"{base}_file", f"{base}_command"} & table.keys()
            if len(others) > 1:
                names = " and ".join(sorted(others))
                where = raw.name_place((*place, key))
                raise ConfigError(f"{where}: {names} are both given", "give one of them")
            values[base] = _read_one_secret(value, way, (*place, key), raw, folder)
            found.add((*place, base))
        else:
            values[key] = value
    return values


def _read_one_secret(value: object, way: str, place: Place, raw: RawConfig, folder: Path) -> str:
    try:
        secret = _WAYS[way](value, folder).decode().strip()
    except UnicodeDecodeError:
        problem = "is not text", "it must be one line of UTF-8"
    except _Unusable as error:
        problem = error.why, error.hint
    else:
        if secret and "\n" not in secret:
            return secret
        problem = "is empty" if not secret else "has several lines", "it must be one line"
    raise SecretUnreadable(f"{raw.name_place(place)}: {problem[0]}", problem[1])


def _read_from_file(value: object, folder: Path) -> bytes:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _Unusable("must be the path of a file", 'write it as in "/run/secrets/NAME"')
    path = folder / value
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise _Unusable(
            f"{path} cannot be read: {error.strerror}", "check the path and its rights"
        ) from None


def _read_from_command(value: object, folder: Path) -> bytes:
    if isinstance(value, str) and value.startswith("["):  # of a variable
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise _Unusable(
            "must be a program and its arguments", 'write a list, as in ["pass", "show", "sms"]'
        )
    return _run_once(tuple(value), folder)


@cache
def _run_once(command: tuple[str, ...], folder: Path) -> bytes:
    """What a command prints. No shell reads it, and its errors, which may hold secrets, are not
    shown."""
    hint = f"run {command[0]} as this user to see why: it must print the secret and end with 0"
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a NUL in it"
        raise _Unusable(f"{command[0]} cannot be started: {why}", "check its path") from None
    try:
        printed = _read_printed(process)
        status = process.wait(_COMMAND_S)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise _Unusable(f"{command[0]} took longer than {_COMMAND_S:g} s", hint) from None
    finally:
        # Its children too: the session that it leads has one group at first.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status != 0:
        raise _Unusable(f"{command[0]} ended with {status}", hint)
    return printed


def _read_printed(process: subprocess.Popen[bytes]) -> bytes:
    """What it prints until it closes its output. Raises TimeoutError, and _Unusable for more."""
    assert process.stdout is not None
    deadline, printed = time.monotonic() + _COMMAND_S, b""
    with process.stdout as output, selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(output.fileno(), _LARGEST_BYTES)
            printed += chunk
            if not chunk:
                return printed
            if len(printed) > _LARGEST_BYTES:
                raise _Unusable("printed more than 64 KiB", "it must print the secret only")
    raise TimeoutError


_WAYS: Final = {"file": _read_from_file, "command": _read_from_command}


def _merge_password(table: Mapping[str, object], section: str, raw: RawConfig) -> dict[str, object]:
    """The table of a server with `password` in its `url`."""
    url, password = table.get("url"), table["password"]
    where = raw.name_place((section, "password"))
    if not isinstance(password, str) or not password:
        raise ConfigError(f"{where}: must be a text")
    try:
        merged = urls.with_password(url if isinstance(url, str) else "", password)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return {key: value for key, value in table.items() if key != "password"} | {"url": merged}
