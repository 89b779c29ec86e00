"""The HTTP server on loopback: lets the right provider answer, with the faults that strike."""

import asyncio
import errno
import ipaddress
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from dispatcher.errors import DispatcherError, UsageProblem
from dispatcher.simulator import spoiling
from dispatcher.simulator.control import PREFIX, Control
from dispatcher.simulator.families import FAMILIES
from dispatcher.simulator.families.base import Call, Family, Refusal, Reply
from dispatcher.simulator.faults import FaultParams, RequestFaults, Stage
from dispatcher.simulator.fields import BadBody, read_fields
from dispatcher.simulator.pusher import Pusher
from dispatcher.simulator.receipts import ReceiptPlan
from dispatcher.simulator.state import SimulatorState

_MAX_BODY: Final = 64 * 1024 * 1024


class Simulator:
    """All simulated providers on one port.

    `seed` fixes ids, fates and delays. `keys` are the API keys that it accepts; none: any key but
    `bad-key`. Accepted recipients are appended to the file `ledger`. Providers that push do so to
    the URL `push_to`. Raises DispatcherError where that file cannot be written, UsageProblem where
    that URL is of another machine.

    Example: `simulator = Simulator(seed=7)`, `await simulator.start()`,
    `simulator.base_url("thesmspoint")`, `await simulator.stop()`.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        plan: ReceiptPlan | None = None,
        keys: Sequence[str] = (),
        ledger: Path | None = None,
        push_to: str | None = None,
    ) -> None:
        self._state = SimulatorState(
            plan=plan or ReceiptPlan(), seed=seed, keys=keys, ledger=ledger
        )
        self._families = {name: family(name, self._state) for name, family in FAMILIES.items()}
        self._paths = {family.path_name or name: family for name, family in self._families.items()}
        balances = {name: family.balances for name, family in self._families.items()}
        self._state.begin_run(balances)
        self._pusher = Pusher(push_to, self._state, self._families) if push_to else None
        self._control = Control(self._state, balances, self._pusher)
        self._stopping = asyncio.Event()
        self._at_once = 0
        self._origin = ""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle_request)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on `host`, which must be loopback, at `port` (0: a free one, see `self.port`).

        Raises DispatcherError where the port cannot be had, UsageProblem for another host.
        """
        if not ipaddress.ip_address(host).is_loopback:
            raise UsageProblem(f"the simulator listens on loopback only, not on {host}")
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.stop()
            why = f"cannot be opened: {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                why = "is in use"
            raise DispatcherError(
                f"port {port} {why}",
                "choose another with --port, or --port 0 for a free one",
            ) from error
        self.port = self._runner.addresses[0][1]
        if self._pusher is not None:
            self._pusher.start()
        self._origin = (
            f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        )

    async def stop(self) -> None:
        """Close open connections, the port and the ledger."""
        self._stopping.set()
        if self._pusher is not None:
            await self._pusher.stop()
        await self._runner.cleanup()
        self._state.ledger.close()

    def base_url(self, provider: str) -> str:
        """The `base_url` of an account at `provider`. Raises UsageProblem for an unknown one."""
        family = self._families.get(provider)
        if family is None:
            raise UsageProblem(
                f"the simulator does not simulate {provider}",
                f"it simulates {', '.join(self._families)}",
            )
        return f"{self._origin}/{family.path_name or provider}/{family.base_path}".rstrip("/")

    @property
    def base_urls(self) -> dict[str, str]:
        """Base URL of every simulated provider."""
        return {name: self.base_url(name) for name in self._families}

    @property
    def control_url(self) -> str:
        """The base URL of the control endpoints."""
        return f"{self._origin}{PREFIX}"

    async def _handle_request(self, request: web.Request) -> web.StreamResponse:
        wall, monotonic = time.time(), time.monotonic()
        if request.path.startswith(PREFIX):
            return await self._control.handle_request(request)
        stats = self._state.stats
        stats.count_arrival(request.path, monotonic, wall)
        self._at_once += 1
        stats.max_requests_at_once = max(stats.max_requests_at_once, self._at_once)
        connections = len(self._runner.server.connections) if self._runner.server else 0
        peer = request.transport.get_extra_info("peername") if request.transport else None
        stats.count_connection(str(peer), connections)
        try:
            return await self._answer_as_provider(request, wall)
        finally:
            self._at_once -= 1

    async def _answer_as_provider(self, request: web.Request, arrived: float) -> web.StreamResponse:
        """The answer of the provider that the path names; malformed requests are counted."""
        name, _, rest = request.path[1:].partition("/")
        family = self._paths.get(name)
        base = f"{family.base_path}/" if family else ""
        if family is None or not f"{rest}/".startswith(base):
            self._state.stats.count_malformed(name[:40], request.path[:200], "no such base URL")
            return web.Response(status=404, text="no such base URL")
        try:
            return await self._carry_out(request, family, rest[len(base) :], arrived)
        except BadBody as error:
            refusal = family.malformed_refusal(str(error), "Invalid Request")
        except Refusal as error:
            refusal = error
        except ConnectionError:  # the client closed in the middle of its body
            self._state.stats.counts["cut_short"] += 1
            return spoiling.cut_connection(request)
        if refusal.malformed is not None:
            self._state.stats.count_malformed(family.name, request.path[:200], refusal.malformed)
        return spoiling.to_response(refusal.reply)

    async def _carry_out(
        self, request: web.Request, family: Family, path: str, arrived: float
    ) -> web.StreamResponse:
        """The answer to one call, with the faults that strike it. Raises BadBody and Refusal."""
        fields = await read_fields(request)
        kind = family.classify_call(request.method, path)
        faults = self._state.faults.draw_faults(family.name, kind, self._state.stats.faults)
        if not await self._wait_for_faults(faults):
            return spoiling.cut_connection(request)
        early, late = faults.first_of_stage(Stage.BEFORE), faults.first_of_stage(Stage.AFTER)
        if early is not None:
            return spoiling.spoilt_response(request, family, *early)
        reply = family.answer_call(
            Call(
                method=request.method,
                path=path,
                headers=request.headers,
                fields=fields,
                arrived=arrived,
                faults=faults,
            )
        )
        if late is not None:
            return await self._spoil_answer(request, family, reply, late)
        return spoiling.to_response(reply)

    async def _wait_for_faults(self, faults: RequestFaults) -> bool:
        """Sleep for `slow` and `hang_before`; False where the simulator stops meanwhile."""
        slow, hang = faults.params_of("slow"), faults.params_of("hang_before")
        seconds = (slow["ms"] / 1000 if slow else 0) + (hang["seconds"] if hang else 0)
        return await self._sleep_unless_stopping(seconds)

    async def _sleep_unless_stopping(self, seconds: float) -> bool:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
        return not self._stopping.is_set()

    async def _spoil_answer(
        self,
        request: web.Request,
        family: Family,
        reply: Reply,
        fault: tuple[str, FaultParams],
    ) -> web.StreamResponse:
        """The answer to an accepted request under `fault`."""
        name, params = fault
        if name == "hang_after":
            hung = await self._sleep_unless_stopping(params["seconds"])
            return spoiling.to_response(reply) if hung else spoiling.cut_connection(request)
        if name == "truncated":
            return await spoiling.send_half(request, reply)
        return spoiling.spoilt_response(request, family, name, params)
