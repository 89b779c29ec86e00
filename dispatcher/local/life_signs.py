"""Signs of life to whoever runs this process: systemd (sd_notify), and the image's health check.

Without `NOTIFY_SOCKET` and `DISPATCHER_ALIVE_FILE` in the environment nothing is sent.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

#: Of which processes that this one starts must know nothing: they would speak in its name.
LIFE_SIGN_VARIABLES: Final = (
    "DISPATCHER_ALIVE_FILE",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
#: At most so often; every supervisor here waits for a minute or longer.
_PAUSE_S: Final = 1.0


class LifeSigns:
    """Sends what systemd calls states (sd_notify(3)), and touches a file. Never raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        file = environ.get("DISPATCHER_ALIVE_FILE")
        self._file = Path(file) if file else None
        self._sent_at = float("-inf")

    def send_ready(self) -> None:
        """Say that this process does its work from now on."""
        self._notify_systemd("READY=1")
        self.send_alive()

    def send_alive(self) -> None:
        """Say that this process still works; may be called at any pace."""
        now = time.monotonic()
        if now - self._sent_at < _PAUSE_S:
            return
        self._sent_at = now
        self._notify_systemd("WATCHDOG=1")
        if self._file is not None:
            with suppress(OSError):
                self._file.touch()

    def send_stopping(self) -> None:
        """Say that this process finishes its work and ends."""
        self._notify_systemd("STOPPING=1")

    def _notify_systemd(self, state: str) -> None:
        # A name that begins with @ is abstract (unix(7)); other kinds of address are not used.
        if not self._address.startswith(("/", "@")):
            return
        place = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), place)


@cache
def get_life_signs() -> LifeSigns:
    """Those of this process."""
    return LifeSigns()
