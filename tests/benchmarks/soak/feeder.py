"""Campaigns that follow each other, some seconds ahead of the load."""

import threading
import time
from collections.abc import Iterator
from typing import Final

from tests.support.stage import Campaign, Stage

#: So many campaigns wait.
_AHEAD: Final = 3


class Feeder:
    """Submits campaigns of one account: the recipients of so many seconds at a rate."""

    def __init__(
        self, ours: Stage, account: str, load: tuple[int, int], first: int, text: str
    ) -> None:
        """`load`: recipients a second, and the seconds of a campaign; `first`: a number."""
        self._ours, self._account, self._text = ours, account, text
        self.each, self._first = load[0] * load[1], first
        self._begun: list[tuple[float, Campaign]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feeder of {account}")
        self.imported = self.finished = 0
        #: From a campaign's submission to its last receipt: the last one that is over.
        self.campaign_s = 0.0
        self.wrong: list[str] = []

    def start(self) -> None:
        """Begin to submit."""
        self._thread.start()

    def stop(self) -> None:
        """Submit no further one."""
        self._stopping.set()
        self._thread.join()

    def finish(self, within_s: float) -> list[str]:
        """Stop, and wait for the last receipt; what is wrong, which should be nothing."""
        self.stop()
        deadline = time.monotonic() + within_s
        while self._begun and time.monotonic() < deadline:
            list(self._look())
            time.sleep(0.5)
        open_ones = [f"{self._account}: {each.counts} at the end" for _, each in self._begun]
        if not self.finished:
            open_ones.append(f"{self._account}: no campaign has finished")
        return [*self.wrong, *open_ones]

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            if sum(self._look()) >= _AHEAD:
                self._stopping.wait(0.5)
                continue
            people = self._ours.people(
                self.each,
                first=self._first + number * self.each,
                name=f"{self._account}-{number % 4}.csv",
            )
            at = time.monotonic()
            campaign = self._ours.submit(
                people, "--text", self._text, "--again", account=self._account
            )
            self._begun.append((at, campaign))
            self.imported += self.each
            number += 1

    def _look(self) -> Iterator[bool]:
        """For each campaign that is not over, whether it still has somebody to submit."""
        for at, campaign in list(self._begun):
            view = campaign.view
            yield bool(view.counts["pending"])
            if not view.is_over:
                continue
            self._begun.remove((at, campaign))
            self.campaign_s = time.monotonic() - at
            self.finished += 1
            final = view.counts["delivered"] + view.counts["undelivered"]
            if final != self.each:
                self.wrong.append(f"{self._account}: a campaign ended with {view.counts}")
