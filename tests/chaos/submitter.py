"""The submitter: hands in campaigns of every kind, so that there is always something to send."""

import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

import sqlalchemy as sa

from dispatcher.errors import StoreError
from dispatcher.status import BatchState
from dispatcher.store.tables import BATCH
from tests.chaos import staging
from tests.chaos.decisions import Decisions
from tests.support.stage import Stage

FIRST_NUMBER: Final = 919_810_000_000
#: The campaign of the first message of an account, which shows how far back its list reaches.
FIRST_NAME: Final = "first-"
#: Batches that wait when the next campaign is submitted.
_LOW_WATER: Final = 60


def later_window() -> str:
    """An hour of each day that begins in an hour or later."""
    hour = (datetime.now(UTC).hour + 2) % 23
    return f"{hour:02}:00-{hour + 1:02}:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is submitted in turn. A personal text takes one request per recipient at some."""

    recipients: int = 2000
    is_personal: bool = False
    #: A side campaign may be cancelled; all others have to be sent.
    is_side: bool = False
    resends: bool = False
    starts_at_spare: bool = False
    #: Its window opens hours later, or when the operator opens it; before, its provider is asked.
    is_later: bool = False
    #: By the account with an allow-list; its file has as many rows more, which get no message.
    is_staging: bool = False
    #: Falls back to that account, which may text nobody of it.
    falls_to_staging: bool = False


_KINDS: Final = (
    Kind(),
    Kind(recipients=300, is_personal=True),
    Kind(is_side=True),
    Kind(recipients=100, is_later=True),
    Kind(resends=True),
    Kind(starts_at_spare=True),
    Kind(recipients=300, is_personal=True, is_side=True),
    Kind(),
    Kind(recipients=300, is_personal=True, resends=True),
    Kind(recipients=60, is_staging=True),
    Kind(recipients=400, is_side=True, falls_to_staging=True),
)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A campaign that was accepted."""

    id: int
    kind: Kind


class Submitter:
    """Submits campaigns, one after another, until a time of `time.monotonic()`."""

    def __init__(
        self, stage: Stage, until: float, accounts: Sequence[str], decisions: Decisions, size: float
    ) -> None:
        """`accounts`: the first is used, the second is its fallback; `size` as in a plan."""
        self._stage = stage
        self._until = until
        self._main, self._spare = accounts
        self._decisions = decisions
        self._kinds = [replace(kind, recipients=int(kind.recipients * size)) for kind in _KINDS]
        self._low_water = int(_LOW_WATER * size)
        self._next_number = FIRST_NUMBER
        self._next_staging = staging.FIRST_NUMBER + 2
        self._thread = threading.Thread(target=self._run, name="submitter")
        #: Those that were accepted, in order; only ever grows.
        self.campaigns: list[Submitted] = []

    @property
    def recipients(self) -> int:
        """How many were submitted so far."""
        return sum(campaign.kind.recipients for campaign in self.campaigns)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Wait for the last submission: what it leaves waiting is opened after that."""
        self._thread.join()

    def _run(self) -> None:
        has_failed = True
        # One that failed half way is submitted again: what it left behind would never end.
        while time.monotonic() < self._until or has_failed:
            if has_failed or self._waiting() < self._low_water:
                made = self._submit()
                has_failed = made is None
                if made is not None:
                    if made.kind.is_staging:
                        self._next_staging += 2 * made.kind.recipients
                    else:
                        self._next_number += made.kind.recipients
                    self.campaigns.append(made)
            time.sleep(0.2)

    def _waiting(self) -> int:
        with suppress(StoreError), self._stage.store.read() as conn:
            query = sa.select(sa.func.sum(BATCH.c.requests)).where(
                BATCH.c.state == BatchState.PENDING
            )
            return int(conn.execute(query).scalar_one() or 0)
        return self._low_water

    def _submit(self) -> Submitted | None:
        """None where it failed. The key lets what failed half way be submitted again."""
        number = len(self.campaigns)
        kind = self._kinds[number % len(_KINDS)]
        rows, first = kind.recipients, self._next_number
        account, fallback = self._main, self._spare
        if kind.is_staging:
            rows, first = 2 * kind.recipients, self._next_staging
            account = fallback = staging.ACCOUNT
        elif kind.falls_to_staging:
            fallback = staging.ACCOUNT
        elif kind.starts_at_spare:
            account, fallback = fallback, account
        people = self._stage.people(rows, first=first, name=f"people-{number}.csv")
        text = "Dear {{name}}, your order is ready." if kind.is_personal else "Your order is ready."
        ended = self._stage.run(
            "campaign", "submit", str(people), "--account", account,
            *(("--fallback", fallback) if fallback != account else ()),
            "--on-doubt", "resend" if kind.resends else "hold", "--text", text,
            "--idempotency-key", f"campaign {number}", "--json",
            *(("--window", later_window()) if kind.is_later else ()),
        )  # fmt: skip
        with self._stage.log("submitter").open("a", encoding="utf-8") as log:
            log.write(f"{number}: {ended.code} {ended.out}{ended.err}\n")
        if ended.code != 0:
            return None
        campaign_id = json.loads(ended.out)["id"]
        if kind.resends:
            self._decisions.allow_resend_rule(campaign_id)
        return Submitted(campaign_id, kind)
