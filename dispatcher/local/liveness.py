"""Says whether the process that began something still runs, by a name that is never used again."""

import os
from pathlib import Path

_PROC = Path("/proc")


def own_process_name() -> str | None:
    """This process's name, which no other process ever has; None on systems without /proc."""
    return _process_name(os.getpid())


def has_ended(name: str | None) -> bool:
    """Whether the process with this name has surely ended.

    False if that is unknown: it ran on another machine, in another container, or before the last
    boot.
    """
    if name is None:
        return False
    place, _, process = name.rpartition(" ")
    own = own_process_name()
    if own is None or own.rpartition(" ")[0] != place:
        return False
    pid = int(process.partition("-")[0])
    return _process_name(pid) != name


def _process_name(pid: int) -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        # Each container has its own process ids.
        space = (_PROC / "self/ns/pid").stat().st_ino
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # proc(5): the second field may hold spaces and brackets; start time is the 22nd, state the 3rd.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return f"{boot} {space} {pid}-{fields[19]}"
