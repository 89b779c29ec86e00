"""What people decided during a chaos run, recorded before each command: what the judge excuses."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from dispatcher.status import MessageState

_ANY: Collection[None] = (None,)


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


@dataclass(frozen=True, slots=True)
class Ban:
    """Nothing may begin meanwhile: at an account, to a number, or to a number at an account."""

    since: float
    until: float
    account: str | None = None
    number: int | None = None

    def forbids(self, begun_at: float, account: str, number: int | None = None) -> bool:
        """Whether a request to `number` by `account` may not have begun then."""
        is_about = self.account in {None, account} and self.number in {None, number}
        return is_about and self.since < begun_at < self.until


class Decisions:
    """Who was resent, dropped or cancelled on purpose. Times are Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._made = defaultdict[int, list[Decision]](list)
        self._cancelled: set[int] = set()
        self._resend_rule: set[int] = set()
        self._retries = defaultdict[int, list[frozenset[MessageState]]](list)
        self._taken_out: set[tuple[int, int]] = set()
        self._opted_out: set[int] = set()
        self._open_bans: dict[tuple[str | None, int | None], float] = {}
        self._bans: list[Ban] = []
        #: Whom a command said that it took out of a campaign: campaign ids and numbers.
        self.surely_taken_out: set[tuple[int, int]] = set()

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

    def allow_retry(self, campaign_id: int, states: Collection[MessageState]) -> None:
        """A person has recipients in these states submitted again."""
        self._retries[campaign_id].append(frozenset(states))

    def allow_taking_out(self, campaign_id: int, numbers: Collection[int]) -> None:
        """A person takes recipients out of a campaign while they are pending."""
        self._taken_out.update((campaign_id, number) for number in numbers)

    def allow_opt_out(self, numbers: Collection[int]) -> None:
        """Numbers are put on the suppression list."""
        self._opted_out.update(numbers)

    def ban(self, account: str | None, numbers: Collection[int] = ()) -> None:
        """A command has ended: from now on nothing begins at the account, or to these numbers."""
        for number in numbers or _ANY:
            self._open_bans.setdefault((account, number), self._clock())

    def lift_ban(self, account: str | None, numbers: Collection[int] = ()) -> None:
        """A command that allows it again is about to start."""
        for number in numbers or _ANY:
            since = self._open_bans.pop((account, number), None)
            if since is not None:
                self._bans.append(Ban(since, self._clock(), account, number))

    @property
    def bans(self) -> list[Ban]:
        """Every time in which something was forbidden."""
        return self._bans + [Ban(since, inf, *of) for of, since in self._open_bans.items()]

    def count_retries(self, campaign_id: int, state: MessageState) -> int:
        """How often recipients in `state` may have been submitted again."""
        return sum(state in states for states in self._retries[campaign_id])

    def may_be_taken_out(self, campaign_id: int, number: int) -> bool:
        """Whether a person took the recipient out of the campaign."""
        return (campaign_id, number) in self._taken_out

    def has_opted_out(self, number: int) -> bool:
        """Whether the number ever was on the suppression list."""
        return number in self._opted_out

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
