"""The systemd units of deploy/: what they say, and their processes started without systemd.

As systemd does it: as an unprivileged user, with a socket for sd_notify, and without the right to
make memory executable.
"""

import configparser
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.cli import ROOT, clean_environment
from tests.support.postgres_server import NOBODY, everybody_may_read

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
# PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS and PR_SET_MDWE of prctl(2); an old kernel has no MDWE.
_LAUNCHER = """
import ctypes, os, sys
if sys.argv[1] != "0":
    os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
if sys.platform == "linux":
    prctl = ctypes.CDLL(None).prctl
    prctl(1, 9, 0, 0, 0); prctl(38, 1, 0, 0, 0); prctl(65, 1, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


def read_unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections, keys, and every value of a key: systemd lets a key stand more than once."""

    class Values(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(
        dict_type=Values, strict=False, interpolation=None, delimiters="="
    )
    parser.optionxform = str
    parser.read_string(path.read_text())
    return {
        name: {
            key: value if isinstance(value, list) else value.split("\n")
            for key, value in parser.items(name)
        }
        for name in parser.sections()
    }


def _other_user() -> int:
    """Who runs the units instead of root; 0: this user, also where only root may read Python."""
    python = Path(sys.executable).resolve()
    return NOBODY if os.getuid() == 0 and everybody_may_read(python) else 0


def make_nobodys(path: Path) -> Path:
    """Let the processes of units own a file or folder."""
    if _other_user():
        os.chown(path, NOBODY, NOBODY)
    return path


class UnitProcess:
    """The process of a unit's ExecStart, in a `with` block."""

    def __init__(
        self, path: Path, folder: Path, env: Mapping[str, str], *, instead: Mapping[str, str]
    ) -> None:
        """`instead` are words of the command line to replace, such as a port."""
        service = read_unit(path)["Service"]
        self.name = path.stem
        self.is_notifying = service["Type"] == ["notify"]
        (line,) = service["ExecStart"]
        words = shlex.split(line.replace("%i", "1").replace("%%", "%"))
        program, *arguments = [instead.get(word, word) for word in words]
        binary = Path(sys.executable).with_name(Path(program).name)
        self._log = folder / f"{path.stem}.log"
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / f"{path.stem}.sock"
        self._notices.bind(str(address))
        make_nobodys(address)
        given = dict(each.split("=", 1) for one in service["Environment"] for each in one.split())
        given = {name: value for name, value in given.items() if name.startswith("PYTHON")}
        home = folder / path.stem
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(_other_user())]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*launcher, str(binary), *arguments],
                cwd=home,
                env=clean_environment(home)
                | given
                | dict(env)
                | {"NOTIFY_SOCKET": str(address), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.states: list[str] = []

    def wait_for_state(self, state: str, *, within_s: float = 60) -> None:
        """Read what it says to systemd until it says this."""
        deadline = time.monotonic() + within_s
        while state not in self.states:
            left = deadline - time.monotonic()
            assert left > 0, f"{self.name} has not said {state}: {self.states}, {self.said()}"
            if select.select([self._notices], [], [], min(left, 0.2))[0]:
                self.states += self._notices.recv(4096).decode().splitlines()
            elif self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended: {self.said()}")

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._notices.close()
