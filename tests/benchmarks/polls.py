"""How many status requests the receipts of personal messages take, at each provider.

    python -m tests.benchmarks.polls [--only NAME] [--rows 2000]

Each recipient gets a text of their own, so most providers get a request each. The simulator counts
every other request that arrives until the last receipt is stored. Receipts come within a minute and
are asked for from the first seconds on, which takes more requests than the default intervals do.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.base import StatusLookup
from tests.benchmarks.providers import KEYS
from tests.support.cli import in_process
from tests.support.stage import stage, wait_for

_FIRST: Final = 919_800_000_000
_WITHIN_S: Final = 240.0
_FATES: Final = ("--delivered", "0.95", "--undelivered", "0.05", "--expired", "0")
#: What the table is for.
_MANY: Final = 300_000
#: Of an account that asks as often as its provider allows.
_REQUESTS_PER_SECOND: Final = 10.0


class Polled(NamedTuple):
    """What the receipts of a campaign took."""

    provider: str
    messages: int
    requests: int

    @property
    def messages_each(self) -> float:
        """Messages for each status request."""
        return self.messages / max(1, self.requests)

    def __str__(self) -> str:
        many = _MANY / self.messages_each
        return (
            f"{self.provider}: {self.messages:,} messages took {self.requests:,} status requests, "
            f"{self.messages_each:.1f} messages each; {_MANY:,} take {many:,.0f}, "
            f"{many / _REQUESTS_PER_SECOND / 60:,.0f} min at {_REQUESTS_PER_SECOND:g} a second"
        )


def measure(only: str, rows: int) -> Iterator[Polled]:
    """Send personal texts through each provider that tells what became of them."""
    names = [
        name
        for name in provider_names()
        if only in name
        and provider_class(name).capabilities.delivery_status is not StatusLookup.NONE
    ]
    accounts: dict[str, dict[str, Any]] = {
        name: {"provider": name, "max_in_flight": 50, "validity_hours": 1, **KEYS.get(name, {})}
        for name in names
    }
    with stage(
        accounts=accounts, command=in_process, simulator=_FATES, scale=10,
        is_guarded=False,
    ) as ours:  # fmt: skip
        people = ours.folder / "people.csv"
        with people.open("w", encoding="utf-8", newline="") as file:
            lines = [(_FIRST + n, f"OR{n}") for n in range(rows)]
            csv.writer(file).writerows([("phone", "order"), *lines])
        ours.start()
        for name in names:
            ours.provider.reset()
            campaign = ours.submit(people, "--text", "Order {{order}} is ready.", account=name)
            wait_for(lambda one=campaign: one.view.is_over, "every receipt", within_s=_WITHIN_S)
            stats = ours.provider.stats()
            arrived = sum(each["count"] for each in stats["requests"].values())
            yield Polled(name, rows, arrived - stats["accepted_requests"])


def main() -> int:
    """Print a line for each provider."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    for polled in measure(given.only, given.rows):
        print(polled, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
