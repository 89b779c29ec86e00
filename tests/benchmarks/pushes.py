"""`python -m tests.benchmarks.pushes`: receipts that a receiver process takes in a second.

Each push has one receipt and is answered after its commit. The receiver has one core; the client,
on another, keeps 100 connections. What counts is the receiver's processor time per receipt.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import orjson

from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from tests.support.postgres_server import DURABLE, running_server
from tests.support.pushes import new_path, receipt
from tests.support.stores import FIRST_NUMBER, add_campaign, counts_of, submitted

_BATCH = 100
#: Receipts a second of one core.
TARGET = 2000


class Pushed(NamedTuple):
    """Receipts a second: by the clock, and by the receiver's processor time."""

    by_clock: float
    of_a_core: float


def prepare_store(url: str, count: int) -> tuple[str, int]:
    """A campaign of `count` submitted messages, 100 a request; the path to push to, and its id."""
    upgrade_store(url)
    with closing(Store(url)) as store:
        campaign = add_campaign(store, [_BATCH] * (count // _BATCH))
        for _ in range(count // _BATCH):
            submitted(store)
        return new_path(store), campaign


async def push_all(port: int, path: str, bodies: list[bytes], connections: int) -> None:
    """Push every body, over so many connections, each the next when its last was answered."""
    left = iter(bodies)

    async def push_some() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for body in left:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            await reader.readexactly(3)
        writer.close()

    await asyncio.gather(*(push_some() for _ in range(connections)))


def processor_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(count: int, kind: str, *, connections: int = 100, shuffled: bool = False) -> Pushed:
    """Start a receiver over a store of this kind, and push to it; checks that all is stored."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pushes-")))
        url = f"sqlite:///{folder / 'store.db'}"
        if kind == "postgres":
            server = stack.enter_context(running_server(DURABLE))
            url = stack.enter_context(server.database())
        path, campaign = prepare_store(url, count)
        process, port = start_receiver(folder, url)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        bodies = [orjson.dumps(receipt(FIRST_NUMBER + n, f"id-{n}")) for n in range(count)]
        if shuffled:
            random.Random(7).shuffle(bodies)
        before, began = processor_s(process.pid), time.monotonic()
        asyncio.run(push_all(port, path, bodies, connections))
        wall_s, used_s = time.monotonic() - began, processor_s(process.pid) - before
        with closing(Store(url)) as store:
            assert counts_of(store, campaign) == {"delivered": count}
    return Pushed(count / wall_s, count / used_s)


def start_receiver(folder: Path, url: str) -> tuple[subprocess.Popen[str], int]:
    """A receiver process on one core, and its port."""
    config = folder / "dispatcher.toml"
    config.touch(0o600)
    config.write_text(
        f'[store]\nurl = "{url}"\n[accounts.main]\nprovider = "voip_communications"\n'
        'api_key = "any"\napi_password = "any"\n'
    )
    core = str(max(os.sched_getaffinity(0)))
    receiver = [sys.executable, "-m", "dispatcher", "receiver", "--port", "0"]
    process = subprocess.Popen(
        ["taskset", "-c", core, *receiver, "--config", str(config)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2])


def main() -> None:
    """Run it and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--shuffle", action="store_true", help="receipts in no order of requests")
    given = parser.parse_args()
    found = measure(given.count, given.store, connections=given.connections, shuffled=given.shuffle)
    print(
        f"{given.count:,} receipts, {given.store}: {found.by_clock:,.0f}/s by the clock, "
        f"{found.of_a_core:,.0f}/s of one core; target {TARGET:,}/s"
    )


if __name__ == "__main__":
    main()
