"""Campaigns that follow each other, some seconds ahead of the load."""

import time
from collections.abc import Iterator
from typing import Final

from tests.benchmarks.soak.callers import Caller
from tests.support.stage import Campaign, Stage

#: So many campaigns wait.
_AHEAD: Final = 3
_LOOK_EVERY_S: Final = 0.5


class Feeder(Caller):
    """Submits campaigns of one account: the recipients of so many seconds at a rate."""

    def __init__(
        self, ours: Stage, account: str, load: tuple[int, int], first: int, text: str
    ) -> None:
        """`load`: recipients a second, and the seconds of a campaign; `first`: a number."""
        super().__init__(_LOOK_EVERY_S)
        self._ours, self._account, self._text = ours, account, text
        self.each, self._first = load[0] * load[1], first
        self._begun: list[tuple[float, Campaign]] = []
        self.imported = self.finished = 0
        #: From a campaign's submission to its last receipt: the last one that is over.
        self.campaign_s = 0.0

    def call(self) -> None:
        """Submit the next campaign, unless enough of them wait."""
        if sum(self._look()) >= _AHEAD:
            return
        number = self.imported // self.each
        people = self._ours.people(
            self.each,
            first=self._first + self.imported,
            name=f"{self._account}-{number % 4}.csv",
        )
        at = time.monotonic()
        campaign = self._ours.submit(people, "--text", self._text, "--again", account=self._account)
        self._begun.append((at, campaign))
        self.imported += self.each

    def finish(self, within_s: float) -> list[str]:
        """Stop, and wait for the last receipt; what is wrong, which should be nothing."""
        self.stop()
        deadline = time.monotonic() + within_s
        while self._begun and time.monotonic() < deadline:
            list(self._look())
            time.sleep(_LOOK_EVERY_S)
        open_ones = [f"{self._account}: {each.counts} at the end" for _, each in self._begun]
        if not self.finished:
            open_ones.append(f"{self._account}: no campaign has finished")
        return [*self.wrong, *open_ones]

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
                self.note(f"{self._account}: a campaign ended with {view.counts}")
