"""A headless Chromium, driven by chromedriver over the WebDriver protocol."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

_PORT = 9517
_URL = f"http://127.0.0.1:{_PORT}"


class Browser:
    """One session; `execute` runs JavaScript in the page that is open."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, path: Path) -> None:
        self._post("url", {"url": path.resolve().as_uri()})

    def execute(self, script: str, *args: Any, asynchronous: bool = False) -> Any:
        kind = "async" if asynchronous else "sync"
        return self._post(f"execute/{kind}", {"script": script, "args": list(args)})

    def cdp(self, command: str, **params: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._post("goog/cdp/execute", {"cmd": command, "params": params})

    def requests(self) -> list[str]:
        """The URLs that were asked for since the last call."""
        entries = self._post("se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page, also what is below the window."""
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return _post(f"{_URL}/session/{self._session}/{what}", body)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser; ends with the block. Needs `apt-get install chromium chromium-driver`."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise SystemExit("install Chromium first: apt-get install chromium chromium-driver")
    with subprocess.Popen([driver, f"--port={_PORT}", "--silent"]) as process:
        try:
            session = _start_session(chromium)
            yield Browser(session)
            with urlopen(Request(f"{_URL}/session/{session}", method="DELETE"), timeout=30):
                pass
        finally:
            process.terminate()


def _start_session(chromium: str) -> str:
    options = {
        "binary": chromium,
        "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
    }
    wanted = {
        "browserName": "chrome", "goog:chromeOptions": options,
        "goog:loggingPrefs": {"performance": "ALL"},
    }  # fmt: skip
    for _ in range(100):
        try:
            made = _post(f"{_URL}/session", {"capabilities": {"alwaysMatch": wanted}})
        except ConnectionError:
            time.sleep(0.1)
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                raise
            time.sleep(0.1)
        else:
            session: str = made["sessionId"]
            return session
    raise SystemExit("chromedriver does not answer")


def _post(url: str, body: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=120) as response:
        return json.load(response)["value"]
