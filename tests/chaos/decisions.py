"""What people decided during a chaos run, recorded before each command: what the judge excuses."""

import threading
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Choice(StrEnum):
    """What a person may do with recipients in doubt here."""

    RESEND = "resend"
    DROP = "drop"


@dataclass(slots=True)
class Decision:
    """A decision. It may be about whoever comes into doubt until its command has ended."""

    choice: Choice
    #: Empty: everybody of the campaign who was in doubt.
    numbers: frozenset[int]
    until: float = inf

    def end(self) -> None:
        """Its command has ended, or was killed."""
        self.until = time.time()


class Decisions:
    """Who was resent, dropped or cancelled on purpose. Times are Unix seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = defaultdict[int, list[Decision]](list)
        self._cancelled: set[int] = set()
        self._resend_rule: set[int] = set()

    def allow(self, campaign_id: int, choice: Choice, numbers: Collection[int] = ()) -> Decision:
        """A person decides about recipients in doubt; without `numbers`, about all of them."""
        made = Decision(choice, frozenset(numbers))
        with self._lock:
            self._made[campaign_id].append(made)
        return made

    def allow_cancel(self, campaign_id: int) -> None:
        """A person cancels a campaign."""
        self._cancelled.add(campaign_id)

    def allow_resend_rule(self, campaign_id: int) -> None:
        """A campaign was submitted with `--on-doubt resend`, which resends each recipient once."""
        self._resend_rule.add(campaign_id)

    def is_cancelled(self, campaign_id: int) -> bool:
        """Whether a person cancelled the campaign."""
        return campaign_id in self._cancelled

    def count_resends(self, campaign_id: int, number: int) -> int:
        """How often a recipient may have been submitted again without proof."""
        return len(self._about(campaign_id, number, Choice.RESEND)) + (
            campaign_id in self._resend_rule
        )

    def may_drop(self, campaign_id: int, number: int) -> bool:
        """Whether a person gave the recipient up."""
        return bool(self._about(campaign_id, number, Choice.DROP))

    def given_up_until(self, campaign_id: int, number: int, choice: Choice) -> float:
        """What was accepted before this time may be unknown to the store by such a decision."""
        if choice is Choice.RESEND and campaign_id in self._resend_rule:
            return inf
        return max(self._about(campaign_id, number, choice), default=-inf)

    def _about(self, campaign_id: int, number: int, choice: Choice) -> list[float]:
        with self._lock:
            return [
                made.until
                for made in self._made[campaign_id]
                if made.choice is choice and (not made.numbers or number in made.numbers)
            ]
