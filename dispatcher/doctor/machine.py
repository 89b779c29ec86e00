"""Checks of this machine: who may read the files, free disk, clocks, and Flower."""

import http.client
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dispatcher.config.settings import Settings
from dispatcher.doctor.result import CheckResult
from dispatcher.local.celery import FLOWER_PORT
from dispatcher.store.engine import Store, store_now

#: Bytes: below the first, somebody should act; below the second, sending may stop at any time.
_LOW_DISK: Final = 1 << 30
_NO_DISK: Final = 100 << 20
#: Seconds between two clocks: windows are kept to the second, leases survive much more.
_SKEW_S: Final = 1.0
_LARGE_SKEW_S: Final = 10.0
_FLOWER_TIMEOUT_S: Final = 1.0


def check_files(settings: Settings, store: Store) -> Iterator[CheckResult]:
    """Who may read what has secrets or numbers: a secret, the store, spilled answers."""
    paths = [("configuration", settings.notify.secret_file)]
    if store.is_sqlite and store.url.database:
        paths += [("store", Path(store.url.database + end)) for end in ("", "-wal", "-shm")]
    paths.append(("store", settings.worker.spill_dir))
    for part, path in paths:
        with suppress(OSError):
            if path is not None and path.stat().st_mode & stat.S_IROTH:
                yield CheckResult(
                    part=part,
                    ok=False,
                    what=f"every user of this machine can read {path}",
                    remedy=f"`chmod o-rwx {path}`",
                )
    secret = settings.notify.secret_file
    if secret is not None and not secret.is_file():
        remedy = "write the key into it, or correct `secret_file` under [notify]"
        what = f"the file {secret} does not exist: no webhook can be called"
        yield CheckResult(part="configuration", ok=False, what=what, remedy=remedy)
    yield from check_store_writable(store)


def check_store_writable(
    store: Store, may_write: Callable[[Path], bool] | None = None
) -> Iterator[CheckResult]:
    """Whether an SQLite store can be written: reading alone goes well on a read-only disk."""
    if not store.is_sqlite or not store.url.database:
        return
    find = may_write or (lambda path: os.access(path, os.W_OK))
    path = Path(store.url.database)
    for each in (path, path.parent):
        if each.exists() and not find(each):
            yield CheckResult(
                part="store",
                ok=False,
                what=f"{each} cannot be written: nothing is sent",
                remedy="let this user write the file and its folder, on a writable disk",
            )
            return


def check_disk(
    settings: Settings, store: Store, free_of: Callable[[Path], int] | None = None
) -> Iterator[CheckResult]:
    """How much is free where the store and the spilled answers are."""
    find_free = free_of or (lambda path: shutil.disk_usage(path).free)
    folders = [settings.path.parent] if settings.path is not None else []
    if store.is_sqlite and store.url.database:
        folders = [Path(store.url.database).parent]
    if settings.worker.spill_dir is not None:
        folders.append(settings.worker.spill_dir)
    for folder in dict.fromkeys(folders):
        try:
            free = find_free(folder)
        except OSError:  # a folder that does not exist yet
            continue
        yield CheckResult(
            part="disk",
            ok=free >= _NO_DISK,
            is_warning=free < _LOW_DISK,
            what=f"{_size(free)} free in {folder}",
            remedy="free some space: nothing is sent while the store cannot write"
            if free < _LOW_DISK
            else None,
        )


def check_clocks(
    store: Store, broker_now: datetime | None, own_now: Callable[[], datetime] | None = None
) -> Iterator[CheckResult]:
    """Whether this machine's clock, the store's and the broker's agree. None: not known."""
    with store.read() as conn:
        at_store = store_now(conn)
    own = (own_now or (lambda: datetime.now(UTC)))()
    others = [("the store's", at_store)]
    others += [("the broker's", broker_now)] if broker_now is not None else []
    worst = max(abs((own - at).total_seconds()) for _, at in others)
    if worst < _SKEW_S:
        names = " and ".join(name for name, _ in others)
        what = f"this machine's clock agrees with {names}"
        yield CheckResult(part="clocks", ok=True, what=what)
        return
    for name, at in others:
        ahead_s = (own - at).total_seconds()
        if abs(ahead_s) >= _SKEW_S:
            yield skew_result(f"this machine's clock is {_ahead(ahead_s)} {name}", ahead_s)


def skew_result(what: str, ahead_s: float) -> CheckResult:
    """Two clocks that differ by so many seconds."""
    return CheckResult(
        part="clocks",
        ok=abs(ahead_s) < _LARGE_SKEW_S,
        is_warning=True,
        what=what,
        remedy="let every machine take its time from the same servers (NTP)",
    )


def has_skew(ahead_s: float) -> bool:
    """Whether two clocks that differ by so many seconds are to be named."""
    return abs(ahead_s) >= _SKEW_S


def describe_skew(name: str, ahead_s: float) -> str:
    """A clock beside the store's."""
    return f"the clock of {name} is {_ahead(ahead_s)} the store's"


def check_flower(
    hosts: Iterable[str] | None = None, port: int = FLOWER_PORT
) -> Iterator[CheckResult]:
    """Whether Flower shows the workers to other machines without a password."""
    shown = {
        host: status
        for host in (*(hosts or own_addresses()), "127.0.0.1")
        if (status := _ask_flower(host, port)) is not None
    }
    open_to_all = [host for host, status in shown.items() if status == 200 and host != "127.0.0.1"]
    if open_to_all:
        yield CheckResult(
            part="flower",
            ok=False,
            what=f"Flower answers without a password at {open_to_all[0]}:{port}",
            remedy="set FLOWER_BASIC_AUTH=user:password, or leave FLOWER_ADDRESS at 127.0.0.1",
        )
    elif shown:
        yield CheckResult(part="flower", ok=True, what=f"answers at port {port}")
    else:
        yield CheckResult(part="flower", ok=True, what=f"not at port {port} of this machine")


def own_addresses() -> list[str]:
    """This machine's addresses, as its own name has them, besides loopback."""
    with suppress(OSError):
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        names = [str(address[0]) for *_, address in found]
        return [one for one in dict.fromkeys(names) if not one.startswith("127.") and _is_own(one)]
    return []


def _is_own(address: str) -> bool:
    """Whether this machine has the address: its name may lead to another one."""
    with suppress(OSError), socket.socket() as probe:
        probe.bind((address, 0))
        return True
    return False


def _ask_flower(host: str, port: int) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=_FLOWER_TIMEOUT_S)
    try:
        connection.request("GET", "/workers")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _ahead(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"


def _size(free: int) -> str:
    return f"{free / (1 << 30):.1f} GiB" if free >= 1 << 30 else f"{free / (1 << 20):.0f} MiB"
