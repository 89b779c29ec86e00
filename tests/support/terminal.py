"""Runs a command on a terminal of its own, where a person reads and types."""

import os
import pty
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support import warm

_REACTION_S = 0.2


@dataclass(frozen=True)
class Session:
    """What the terminal showed, without colours, and how the command ended."""

    shown: str
    code: int


def on_terminal(
    argv: Sequence[str],
    *,
    typed: str = "",
    after: str = "",
    piped: bytes | None = None,
    controls: bool = True,
    columns: int = 40,
    term: str = "xterm",
    env: Mapping[str, str] = os.environ,
) -> Session:
    """Run `python ARGV` (see `warm`) on a terminal where `typed` is typed once `after` is shown.

    With `piped` given, standard input is a pipe with these bytes. The terminal controls the
    process, as one does where a person works, unless `controls` is false.
    """
    master, slave = pty.openpty()
    process = warm.spawn_on_terminal(
        argv,
        env={**env, "TERM": term, "COLUMNS": str(columns)},
        terminal=os.ttyname(slave),
        piped=piped,
        controls=controls,
    )
    os.close(slave)
    shown, waits = b"", True
    try:
        while True:
            if waits and after.encode() in shown:
                # Nobody types at the same moment. Python looks for Ctrl-C, then waits for a key:
                # a Ctrl-C between the two would wait for that key.
                time.sleep(_REACTION_S)
                os.write(master, typed.encode())
                waits = False
            chunk = os.read(master, 4096)
            if not chunk:
                break
            shown += chunk
    except OSError:  # Linux: EIO when the last writer has gone
        pass
    finally:
        os.close(master)
        code = process.wait(timeout=30)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode(errors="replace"))
    return Session(text.replace("\r\n", "\n"), code)
