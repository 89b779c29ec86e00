"""The `/_sim/` endpoints, which switch faults on and show what arrived.

GET, POST, DELETE faults; GET stats; GET ledger (JSON Lines); POST balance, reset and reply.
"""

from collections.abc import Mapping
from typing import Final

import orjson
from aiohttp import web

from dispatcher.errors import UsageProblem
from dispatcher.simulator.faults import Fault
from dispatcher.simulator.pusher import Pusher
from dispatcher.simulator.state import SimulatorState

PREFIX: Final = "/_sim/"


def _json_response(data: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


class Control:
    """Answers control requests about a simulator's state."""

    def __init__(
        self,
        state: SimulatorState,
        balances: Mapping[str, Mapping[str, int]],
        pusher: Pusher | None,
    ) -> None:
        """`balances` are the balances of a new run, by provider and package."""
        self._pusher = pusher
        self._state = state
        self._balances = balances

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Answer one control request; a wrong one gets 400 with an error and a hint, or 404."""
        call = f"{request.method} {request.path.removeprefix(PREFIX)}"
        if call == "GET ledger":
            return await self._stream_ledger(request)
        try:
            return _json_response(
                self._carry_out(call, orjson.loads(await request.read() or b"{}"))
            )
        except orjson.JSONDecodeError as error:
            return _json_response({"error": f"the body is not JSON: {error}"}, 400)
        except UsageProblem as error:
            return _json_response({"error": error.message, "hint": error.hint}, 400)
        except KeyError:
            return _json_response({"error": f"there is no {call}", "hint": __doc__}, 404)

    def _carry_out(self, call: str, data: object) -> object:
        if not isinstance(data, dict):
            raise UsageProblem("the body must be a JSON object")
        match call:
            case "GET faults":
                return self._state.faults.as_list()
            case "POST faults":
                self._add_fault(data)
                return self._state.faults.as_list()
            case "DELETE faults":
                self._state.faults.switch_all_off()
                return []
            case "GET stats":
                return self._collect_stats()
            case "POST reset":
                self._state.begin_run(self._balances)
                return {"reset": True}
            case _:
                posts = {"POST balance": self._set_balance, "POST reply": self._push_reply}
                return posts[call](data)

    def _add_fault(self, data: dict[str, object]) -> None:
        fault = Fault.from_json(data)
        if fault.provider is not None and fault.provider not in self._balances:
            raise UsageProblem(
                f"there is no provider {fault.provider!r}", f"known: {', '.join(self._balances)}"
            )
        self._state.faults.switch_on(fault)

    def _push_reply(self, data: dict[str, object]) -> dict[str, bool]:
        """Push `{from, text}` as a person's reply."""
        if self._pusher is None:
            raise UsageProblem("nothing is pushed", "start the simulator with --push-to URL")
        number, text = data.get("from"), data.get("text")
        if not isinstance(number, str) or not number.isdecimal() or not isinstance(text, str):
            raise UsageProblem("`from` must be digits, and `text` a text")
        self._pusher.push_reply(number, text)
        return {"pushed": True}

    def _set_balance(self, data: dict[str, object]) -> dict[str, int]:
        """Set `{provider, amount, package?}`: one package, or all of them."""
        balances = self._state.balances.get(str(data.get("provider")))
        if balances is None:
            raise UsageProblem("`provider` must be one of: " + ", ".join(self._balances))
        amount, package = data.get("amount"), data.get("package")
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
            raise UsageProblem("`amount` must be a whole number from 0")
        if package is not None and package not in balances:
            raise UsageProblem(f"`package` must be one of: {', '.join(balances)}")
        for name in balances if package is None else [package]:
            balances[name] = amount
        return balances

    def _collect_stats(self) -> dict[str, object]:
        ledger = self._state.ledger
        return {
            **self._state.stats.as_dict(),
            "accepted": ledger.accepted,
            "distinct_numbers": ledger.distinct_numbers,
            "doubles": ledger.doubles,
            "doubled_numbers": ledger.doubled_numbers,
            "balances": self._state.balances,
        }

    async def _stream_ledger(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        for piece in self._state.ledger.stream_rows():
            await response.write(piece)
        await response.write_eof()
        return response
