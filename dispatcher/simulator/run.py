"""Runs a simulator until SIGINT or SIGTERM."""

import asyncio
import signal
from collections.abc import Callable

from dispatcher.simulator.server import Simulator


async def run_until_signal(
    make: Callable[[], Simulator], port: int, ready: Callable[[Simulator], None]
) -> None:
    """Serve until a signal; `ready` is called once the port is open. Raises DispatcherError."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    simulator = make()
    await simulator.start(port=port)
    try:
        ready(simulator)
        await ended.wait()
    finally:
        await simulator.stop()
