"""Health: what an answer says of an account's provider, and what that means for the next request.

Closed: full speed. `open`: a call that only reads looks whether the provider answers. `trial`: one
recipient tries it. Pure: the store keeps the state, `store/health.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any, Final, NamedTuple

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.backoff import full_jitter
from dispatcher.policy.verdict import Verdict
from dispatcher.status import Kind
from dispatcher.types import Balance

#: The longest wait for a try that only reads, and for one that may leave a recipient in doubt.
_PROBE_CAP_S: Final = 60.0
_TRIAL_CAP_S: Final = 300.0
#: Looks at an empty balance come at least this often, unless they are configured to be rarer.
_CREDIT_CAP_S: Final = 3600.0


class Breaker(StrEnum):
    """What keeps an account from full speed; a closed breaker is None."""

    #: Nothing is released; a call that only reads comes first.
    OPEN = "open"
    #: One recipient at a time.
    TRIAL = "trial"


class ProbeSignal(Enum):
    """What an answer says of the provider."""

    #: It works, whatever it said of the request.
    REACHED = auto()
    #: Nothing was sent.
    FAILED = auto()
    #: It may have accepted what it did not answer for.
    DOUBTFUL = auto()


class BreakerPolicy(NamedTuple):
    """An account's rules: failures in a row until it opens; what its provider can be asked."""

    breaker_after: int
    #: Whether doubts can be settled from the provider's list: if not, one of them opens.
    lists_accepted: bool
    #: Whether a call that only reads can look whether it answers.
    can_be_probed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """An account's breaker. `checks` are tries since full speed last worked: waits grow by them."""

    failures: int = 0
    breaker: Breaker | None = None
    reason: str | None = None
    since: datetime | None = None
    check_at: datetime | None = None
    checks: int = 0


def signal_of(error: ProviderError | None, verdict: Verdict) -> ProbeSignal:
    """What the answer to a submission says: doubtful where most of its recipients are in doubt."""
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
    """The health after the answer to a submission.

    While the breaker is not closed only a probe's answer counts: what was under way when it opened
    says nothing new. A probe that was reached closes it, and keeps the count of tries, so that a
    provider which fails again at full speed is tried ever more rarely.
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
    """Seconds until an open breaker's next look, after `checks` tries."""
    return full_jitter(checks + 1, cap_s=_PROBE_CAP_S, random=random)


def next_credit_check_s(checks: int, first_s: float) -> float:
    """Seconds until an empty balance is looked up again: doubling, up to an hour or `first_s`."""
    return min(max(first_s, _CREDIT_CAP_S), first_s * 2.0 ** min(checks, 20))


def has_credit_for(balances: list[Balance], kind: Kind | None) -> bool:
    """Whether there is something left for campaigns of `kind`: in its own package where one has
    its name, else in any."""
    own = [one for one in balances if kind is not None and one.package.strip().lower() == kind]
    return any(one.amount > Decimal(0) for one in own or balances)


def is_unavailable(account: Any, fallback_after_s: float, now: datetime) -> bool:
    """Whether campaigns should leave by another account: paused, or failing for so long."""
    if account.paused_by is not None:
        return True
    failing = account.breaker == Breaker.OPEN or (
        account.breaker == Breaker.TRIAL and account.check_at is not None
    )
    return failing and now - account.breaker_at >= timedelta(seconds=fallback_after_s)


def wait_reason(account: Any, now: datetime) -> str | None:
    """What an account waits for, and when it is looked at next; None where it is at full speed.

    `account` is its row in the store.
    """
    if account is None:
        return None
    at = _describe_time(account.check_at, now)
    if account.paused_by == ErrorKind.CREDIT and account.check_at is not None:
        resume = f"`dispatcher account resume {account.name}` does not wait for that"
        return f"a top-up; its balance is looked up {at}, and {resume}"
    if account.paused_by is not None:
        return f"a person to put it right, and `dispatcher account resume {account.name}`"
    if account.breaker is not None:
        is_trial = account.breaker == Breaker.TRIAL
        what = "accept one recipient; the next is tried" if is_trial else "answer; it is asked"
        return f"its provider to {what} {at}"
    if account.not_before is not None and account.not_before > now:
        return f"the end of a pause, {_describe_time(account.not_before, now)}"
    return None


def _describe_time(at: datetime | None, now: datetime) -> str:
    return "now" if at is None or at <= now else f"at {at:%Y-%m-%d %H:%M:%S} UTC"
