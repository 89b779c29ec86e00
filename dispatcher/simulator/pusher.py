"""Pushes receipts and replies to a callback URL on this machine, as providers do that push."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from dispatcher.errors import UsageProblem
from dispatcher.simulator.families.base import Family
from dispatcher.simulator.ledger import LedgerRow
from dispatcher.simulator.receipts import Fate
from dispatcher.simulator.state import SimulatorState

_LOOK_S: Final = 0.1
_AT_ONCE: Final = 20
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Pusher:
    """Pushes what becomes of messages; a push that is not answered with 2xx comes again."""

    def __init__(self, url: str, state: SimulatorState, families: Mapping[str, Family]) -> None:
        """Raises UsageProblem for a URL of another machine."""
        if urlsplit(url).hostname not in _LOOPBACK:
            raise UsageProblem(
                "the simulator pushes to this machine only", "give a --push-to on 127.0.0.1"
            )
        self._url = url
        self._state = state
        self._families = families
        self._open: deque[tuple[float, LedgerRow]] = deque()
        self._next_job = 0
        self._replies: deque[Mapping[str, str]] = deque()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Push until `stop`, in a task of the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def push_reply(self, number: str, text: str) -> None:
        """Push a reply from a person, as the first provider does that pushes."""
        family = next(one for one in self._families.values() if one.pushes)
        self._replies.append(family.pushed_reply(number, text))

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                await asyncio.sleep(_LOOK_S)
                self._find_new()
                while self._replies and await self._push(session, self._replies[0]):
                    self._replies.popleft()
                await self._push_final(session)

    def _find_new(self) -> None:
        ledger = self._state.ledger
        while self._next_job < ledger.next_job:
            found = ledger.find_job(self._next_job)
            self._next_job += 1
            if found is not None:
                at, rows = found
                self._open += [(at, row) for row in rows if self._families[row["provider"]].pushes]

    async def _push_final(self, session: aiohttp.ClientSession) -> None:
        now, left, due = time.time(), deque[tuple[float, LedgerRow]](), []
        for at, row in self._open:
            fate = self._state.receipts.fate_at(int(row["number"]), at, now)
            if fate is Fate.SENT:
                left.append((at, row))
            else:
                due.append((at, row, self._families[row["provider"]].pushed_receipt(row, fate)))
        self._open = left
        for first in range(0, len(due), _AT_ONCE):
            some = due[first : first + _AT_ONCE]
            done = await asyncio.gather(*(self._push(session, said) for _at, _row, said in some))
            for (at, row, _said), is_done in zip(some, done, strict=True):
                if not is_done:
                    self._open.append((at, row))

    async def _push(self, session: aiohttp.ClientSession, said: Mapping[str, str]) -> bool:
        headers = {"Content-Type": "application/json"}
        try:
            async with session.post(
                self._url, data=orjson.dumps(said), headers=headers, allow_redirects=False
            ) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
