"""The circuit breaker of an account: how a provider's answers change it, and what it waits for.

Closed: full speed. `open`: only read-only probes are sent. `trial`: one recipient is tried.
`store/health.py` keeps the state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple, Protocol

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.backoff import full_jitter
from dispatcher.policy.verdict import Verdict
from dispatcher.status import Kind
from dispatcher.types import Balance

#: The longest wait for a read-only probe, and for a trial, which may leave a recipient in doubt.
_PROBE_CAP_S: Final = 60.0
_TRIAL_CAP_S: Final = 300.0
#: An empty balance is checked at least this often, unless it is configured to be rarer.
_CREDIT_CAP_S: Final = 3600.0


class Breaker(StrEnum):
    """The state of a breaker that is not closed; None stands for closed."""

    #: Nothing is released until a read-only probe is answered.
    OPEN = "open"
    #: One recipient at a time.
    TRIAL = "trial"


class ProbeSignal(Enum):
    """What the answer to a request says about the provider."""

    #: It is up, whether it accepted the request or not.
    REACHED = auto()
    #: The request did not reach it.
    FAILED = auto()
    #: It may have accepted recipients without saying so.
    DOUBTFUL = auto()


class BreakerPolicy(NamedTuple):
    """When the breaker of an account opens, and how its provider can be tested."""

    #: Failures in a row that open it.
    breaker_after: int
    #: Whether the provider lists what it accepted. Without a list one doubtful answer opens it.
    lists_accepted: bool
    #: Whether the provider has a read-only call for probes.
    can_be_probed: bool


class AccountState(Protocol):
    """What decides whether an account sends: columns of its row in the store."""

    @property
    def name(self) -> str: ...

    @property
    def paused_by(self) -> str | None: ...

    @property
    def pause_reason(self) -> str | None: ...

    @property
    def stopped_at(self) -> datetime | None: ...

    @property
    def stopped_by(self) -> str | None: ...

    @property
    def stop_reason(self) -> str | None: ...

    @property
    def not_before(self) -> datetime | None: ...

    @property
    def breaker(self) -> str | None: ...

    @property
    def breaker_reason(self) -> str | None: ...

    @property
    def breaker_at(self) -> datetime | None: ...

    @property
    def check_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of an account's breaker.

    `checks` counts probes and trials since the account last worked at full speed; waits grow with
    it. `check_at` is the time of the next one.
    """

    failures: int = 0
    breaker: Breaker | None = None
    reason: str | None = None
    since: datetime | None = None
    check_at: datetime | None = None
    checks: int = 0


def signal_of(error: ProviderError | None, verdict: Verdict) -> ProbeSignal:
    """What the answer to a submission says about the provider.

    DOUBTFUL if more than half of the recipients are in doubt.
    """
    if error is None:
        answered = len(verdict.accepted) + len(verdict.rejected)
        return ProbeSignal.DOUBTFUL if len(verdict.doubtful) > answered else ProbeSignal.REACHED
    if error.kind is ErrorKind.UNREACHABLE:
        return ProbeSignal.FAILED
    return ProbeSignal.DOUBTFUL if error.kind is ErrorKind.DOUBTFUL else ProbeSignal.REACHED


def next_state(
    health: Health,
    signal: ProbeSignal,
    *,
    is_probe: bool,
    reason: str | None,
    policy: BreakerPolicy,
    now: datetime,
    random: Callable[[], float],
) -> Health:
    """The breaker's state after the answer to a submission.

    While it is not closed only probes count: requests that were in flight when it opened bring no
    news. A successful probe closes it but keeps `checks`, so that a provider that fails again at
    full speed is tried less and less often.
    """
    if health.breaker is not None and not is_probe:
        return health
    if signal is ProbeSignal.REACHED:
        return Health(checks=health.checks if health.breaker is not None else 0)
    failures = health.failures + 1
    enough = (
        1 if signal is ProbeSignal.DOUBTFUL and not policy.lists_accepted else policy.breaker_after
    )
    if health.breaker is None and failures < enough:
        return Health(failures=failures, checks=health.checks)
    checks = health.checks + 1
    cap_s = _PROBE_CAP_S if policy.can_be_probed else _TRIAL_CAP_S
    wait_s = full_jitter(checks, cap_s=cap_s, random=random)
    return Health(
        failures=failures,
        breaker=Breaker.OPEN if policy.can_be_probed else Breaker.TRIAL,
        reason=reason,
        since=health.since or now,
        check_at=now + timedelta(seconds=wait_s),
        checks=checks,
    )


def next_probe_s(checks: int, random: Callable[[], float]) -> float:
    """Seconds until an open breaker's next probe, after `checks` of them."""
    return full_jitter(checks + 1, cap_s=_PROBE_CAP_S, random=random)


def next_credit_check_s(checks: int, first_s: float) -> float:
    """Seconds until an empty balance is checked again: doubling up to an hour, or to `first_s`."""
    return min(max(first_s, _CREDIT_CAP_S), first_s * 2.0 ** min(checks, 20))


def has_credit_for(balances: list[Balance], kind: Kind | None) -> bool:
    """Whether credit is left for campaigns of `kind`.

    Counts the package of that name; without one, all packages.
    """
    own = [one for one in balances if kind is not None and one.package.strip().lower() == kind]
    return any(one.amount > Decimal(0) for one in own or balances)


def is_unavailable(account: AccountState, fallback_after_s: float, now: datetime) -> bool:
    """Whether campaigns should use a fallback: the account is paused, or fails for so long.

    `account` is a row of the store's account table. Campaigns of one that a person has stopped
    stay: what must not leave there must not leave elsewhere.
    """
    if account.stopped_at is not None:
        return False
    if account.paused_by is not None:
        return True
    failing = account.breaker == Breaker.OPEN or (
        account.breaker == Breaker.TRIAL and account.check_at is not None
    )
    since = account.breaker_at or now
    return failing and now - since >= timedelta(seconds=fallback_after_s)


def describe_outage(account: AccountState) -> str | None:
    """Why an account does not send at full speed; None if it does.

    `account` is a row of the store's account table. A person's stop comes last: it may hide why
    the account would not send anyway.
    """
    if account.paused_by is not None:
        return f"{account.name} is paused ({account.paused_by}): {account.pause_reason}"
    if account.breaker is not None:
        since = f"{account.breaker_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{account.name} has been failing since {since}: {account.breaker_reason}"
    if account.stopped_at is not None:
        return f"{account.name} is stopped"
    return None


def wait_reason(account: AccountState | None, now: datetime) -> str | None:
    """What an account waits for, to follow "it waits for"; None if it sends at full speed.

    `account` is a row of the store's account table, or None.
    """
    if account is None or account.stopped_at is not None:
        return None if account is None else f"`dispatcher go` ({_describe_stop(account)})"
    at = _describe_time(account.check_at, now)
    if account.paused_by == ErrorKind.CREDIT and account.check_at is not None:
        resume = f"`dispatcher account resume {account.name}` skips the wait"
        return f"a top-up; the next check of the balance is {at}; {resume}"
    if account.paused_by is not None:
        return f"you: fix the cause, then run `dispatcher account resume {account.name}`"
    if account.breaker is not None:
        is_trial = account.breaker == Breaker.TRIAL
        what = "accept one recipient; the next try" if is_trial else "answer; the next probe"
        return f"its provider to {what} is {at}"
    if account.not_before is not None and account.not_before > now:
        return f"the end of a pause, {_describe_time(account.not_before, now)}"
    return None


def _describe_stop(account: AccountState) -> str:
    why = f": {account.stop_reason}" if account.stop_reason else ""
    return f"by {account.stopped_by} at {account.stopped_at:%Y-%m-%d %H:%M:%S} UTC{why}"


def _describe_time(at: datetime | None, now: datetime) -> str:
    return "now" if at is None or at <= now else f"at {at:%Y-%m-%d %H:%M:%S} UTC"
