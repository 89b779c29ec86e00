"""A simulator in its own process, its control calls, and plain requests to it.

The requests are written by hand from the provider's document, not by our adapter.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.support import warm
from tests.support.folders import FOLDER


class ControlError(Exception):
    """The simulator refused a control call; the message is its own."""


class SimulatorProcess:
    """`with SimulatorProcess(seed=7, scale=100) as simulator: … simulator.base_url() …`.

    `options` are further options of `dispatcher simulator`; the port is a free one unless given.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        scale: float = 1.0,
        ledger: Path | None = None,
        port: int = 0,
        options: Sequence[str] = (),
    ) -> None:
        self._args = ["--port", str(port), "--seed", str(seed), "--scale", str(scale), *options]
        if ledger is not None:
            self._args += ["--ledger", str(ledger)]
        self._process: warm.Warm | None = None
        self._said: tempfile.TemporaryDirectory[str] | None = None
        self._ready: dict[str, Any] = {}
        self.errors = ""

    def start(self, timeout_s: float = 20) -> Self:
        """Start the process and wait for its ready line. Raises RuntimeError with its stderr."""
        self._said = tempfile.TemporaryDirectory(prefix="simulator-", dir=FOLDER)
        out, err = Path(self._said.name, "out"), Path(self._said.name, "err")
        self._process = warm.spawn(
            "dispatcher",
            ["simulator", "--json", *self._args],
            folder=Path.cwd(),
            env=os.environ,
            out=out,
            err=err,
        )
        deadline = time.monotonic() + timeout_s
        while not (line := out.read_text() if out.exists() else "").endswith("\n"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the simulator did not start: {self.errors}")
            time.sleep(0.01)
        self._ready = json.loads(line)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def ready_line(self) -> dict[str, Any]:
        """What it printed when it was ready."""
        return self._ready

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._ready["port"])

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def base_url(self, provider: str = "thesmspoint") -> str:
        """The base URL of an account at the simulated `provider`."""
        return str(self._ready["base_urls"][provider])

    def fault(self, name: str, **given: Any) -> None:
        """Switch a fault on: `provider`, `on`, `rate` or `count`, and `params`."""
        self._call("POST", "faults", {"fault": name, **given})

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are switched on."""
        return json.loads(self._call("GET", "faults"))

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._call("DELETE", "faults")

    def stats(self) -> dict[str, Any]:
        """What arrived since the start or the last reset."""
        return json.loads(self._call("GET", "stats"))

    def ledger(self) -> list[dict[str, Any]]:
        """What was accepted since the start or the last reset, in order."""
        return [json.loads(line) for line in self._call("GET", "ledger").splitlines()]

    def set_balance(
        self, amount: int, package: str | None = None, provider: str = "thesmspoint"
    ) -> dict[str, int]:
        """Set the balance of one package or of all; returns the new balances."""
        given = {"provider": provider, "amount": amount}
        if package is not None:
            given["package"] = package
        return json.loads(self._call("POST", "balance", given))

    def reset(self) -> None:
        """Start a new run: no counts, no faults, an empty ledger, full balances."""
        self._call("POST", "reset")

    def push_reply(self, number: int, text: str) -> None:
        """Push a person's reply to the URL of --push-to."""
        self._call("POST", "reply", {"from": str(number), "text": text})

    def wait_for(self, count: str, least: int, timeout_s: float = 20) -> dict[str, Any]:
        """The stats once `count` has reached `least`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            stats = self.stats()
            if stats[count] >= least:
                return stats
            time.sleep(0.02)
        raise TimeoutError(f"{count} stays below {least} for {timeout_s} s")

    def stop(self, timeout_s: float = 10) -> int:
        """End it by SIGTERM, as a supervisor would; its exit code. `errors` has its stderr."""
        assert self._process is not None
        self._process.terminate()
        return self._finish(timeout_s)

    def kill(self) -> int:
        """End it by SIGKILL."""
        assert self._process is not None
        self._process.kill()
        return self._finish(10)

    def _finish(self, timeout_s: float) -> int:
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        finally:
            self._process.kill()
            if (err := Path(self._said.name, "err")).exists():
                self.errors = err.read_text()
            self._said.cleanup()

    def _call(self, method: str, path: str, data: Any = None) -> str:
        body = None if data is None else json.dumps(data).encode()
        request = Request(self._ready["control"] + path, data=body, method=method)
        try:
            with urlopen(request, timeout=60) as response:
                return response.read().decode()
        except HTTPError as error:
            with error:
                raise ControlError(error.read().decode()) from error


#: What every submission carries: the ids of SENDER and TEMPLATE in the simulator's directory.
ROUTE: dict[str, Any] = {
    "sender_id": "4101",
    "template_id": "1107160000000007201",
    "channel": 1,
    "is_unicode": 0,
}
SINGLE: dict[str, Any] = {"recipient": 919954654365, "message": "This is Message", **ROUTE}


def bulk(recipients: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The fields of `send-bulk-sms` for pairs of number and text."""
    entries = [{"number": number, "text": text} for number, text in recipients]
    return {"recipient": json.dumps(entries), **ROUTE}


def send(
    simulator: SimulatorProcess,
    command: str,
    body: bytes,
    headers: Mapping[str, str | None],
    *,
    method: str = "POST",
    url: str | None = None,
    timeout_s: float = 10,
) -> tuple[int, Any]:
    """Status and decoded answer; a header that is None is left out."""
    merged = {"key": "any-key", "Accept": "application/json", **headers}
    request = Request(
        url or f"{simulator.base_url()}/{command}",
        data=body or None,
        headers={name: value for name, value in merged.items() if value is not None},
        method=method,
    )
    try:
        with urlopen(request, timeout=timeout_s) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        with error:
            text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def post(
    simulator: SimulatorProcess, command: str, fields: Mapping[str, Any] | None = None, **given: Any
) -> tuple[int, Any]:
    """POST `fields` as JSON."""
    body = json.dumps(fields or {}).encode()
    return send(simulator, command, body, {"Content-Type": "application/json"}, **given)


def status_of(simulator: SimulatorProcess, job_id: str) -> Any:
    """The answer of `sms-delivery-status`."""
    return post(simulator, "sms-delivery-status", {"job_id": job_id})[1]
