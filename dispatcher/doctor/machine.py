"""Checks of this machine: who may read and write the files, free disk, and Flower."""

import http.client
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.config.settings import Settings
from dispatcher.doctor.result import CheckResult
from dispatcher.local.celery import FLOWER_PORT
from dispatcher.store.engine import Store

#: Bytes: below the first, somebody should act; below the second, sending may stop at any time.
_LOW_DISK: Final = 1 << 30
_NO_DISK: Final = 100 << 20
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


def _size(free: int) -> str:
    return f"{free / (1 << 30):.1f} GiB" if free >= 1 << 30 else f"{free / (1 << 20):.0f} MiB"
