"""Judges the answer to a submission: which recipients were accepted, refused, or are in doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.status import AttemptOutcome
from dispatcher.tuples import make_tuples
from dispatcher.types import Recipient, RecipientResult, SubmitOutcome


class Accepted(NamedTuple):
    """A message that the provider accepted."""

    seq: int
    provider_message_id: str | None
    cost: Decimal | None


class NotAccepted(NamedTuple):
    """A message that was refused or is in doubt, and why."""

    seq: int
    error_code: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an answer means for the request's recipients; those in no list stay pending."""

    outcome: AttemptOutcome
    accepted: Sequence[Accepted] = ()
    rejected: Sequence[NotAccepted] = ()
    doubtful: Sequence[NotAccepted] = ()
    job_id: str | None = None
    error_code: str | None = None
    error: str | None = None


MISSING = "the provider's answer does not mention this recipient"
_NUMBER, _SEQ = attrgetter("msisdn"), attrgetter("seq")
_ACCEPTED, _COST = attrgetter("accepted"), attrgetter("cost")
_ID = attrgetter("provider_message_id")
_ABSURD_COST = Decimal(10) ** 9


def judge_answer(recipients: Sequence[Recipient], outcome: SubmitOutcome) -> Verdict:
    """Match the results to the recipients by number; a recipient without a result is in doubt."""
    accepted_all = _accept_all(recipients, outcome.results)
    if accepted_all is not None:
        return Verdict(
            outcome=AttemptOutcome.ANSWERED, accepted=accepted_all, job_id=outcome.job_id
        )
    by_number: dict[int, RecipientResult] = {}
    for result in outcome.results:
        known = by_number.get(result.msisdn)
        # If either of two entries for one number says accepted, the person may get the text.
        if known is None or (result.accepted and not known.accepted):
            by_number[result.msisdn] = result
    accepted: list[Accepted] = []
    rejected: list[NotAccepted] = []
    doubtful: list[NotAccepted] = []
    for recipient in recipients:
        found = by_number.get(recipient.msisdn)
        if found is None:
            doubtful.append(NotAccepted(recipient.seq, None, MISSING))
        elif found.accepted:
            cost = plausible_cost(found.cost)
            accepted.append(Accepted(recipient.seq, found.provider_message_id, cost))
        elif not found.unsent:
            unsettled = doubtful if found.in_doubt else rejected
            unsettled.append(NotAccepted(recipient.seq, found.error_code, found.error))
    ended = AttemptOutcome.DOUBTFUL if doubtful else AttemptOutcome.REFUSED
    return Verdict(
        outcome=AttemptOutcome.ANSWERED if accepted or rejected else ended,
        accepted=accepted,
        rejected=rejected,
        doubtful=doubtful,
        job_id=outcome.job_id,
    )


def _accept_all(
    recipients: Sequence[Recipient], results: Sequence[RecipientResult]
) -> list[Accepted] | None:
    """All recipients, if the answer accepts each of them once; else None.

    That is what nearly all answers with thousands of recipients do.
    """
    by_number = dict(zip(map(_NUMBER, results), results, strict=True))
    found = [*map(by_number.get, map(_NUMBER, recipients))]
    if len(by_number) < len(results) or not found or None in found:
        return None
    if not all(map(_ACCEPTED, found)):
        return None
    prices = [*map(_COST, found)]
    has_prices = {*prices} != {None}
    costs = map(plausible_cost, prices) if has_prices else repeat(None)
    entries = zip(map(_SEQ, recipients), map(_ID, found), costs, strict=False)
    return make_tuples(Accepted, entries)


def partial_stop_error(outcome: SubmitOutcome) -> ProviderError | None:
    """Why the provider stopped in the middle of a request; None if it did not."""
    if outcome.stopped_by is None:
        return None
    first = next(result for result in outcome.results if result.unsent)
    return ProviderError(outcome.stopped_by, first.error or "", code=first.error_code)


def plausible_cost(cost: Decimal | None) -> Decimal | None:
    """The price if the store can hold it; None if it is missing, infinite, NaN or far too large."""
    fits = cost is not None and cost.is_finite() and abs(cost) < _ABSURD_COST
    return cost if fits else None


def judge_error(recipients: Sequence[Recipient], error: ProviderError) -> Verdict:
    """The verdict on a request that failed as a whole."""
    same = [NotAccepted(r.seq, error.code, error.message) for r in recipients]
    if error.kind.may_have_been_accepted:
        return Verdict(
            outcome=AttemptOutcome.DOUBTFUL,
            doubtful=same,
            error_code=error.code,
            error=error.message,
        )
    final = error.kind is ErrorKind.RECIPIENTS
    return Verdict(
        outcome=AttemptOutcome.REFUSED,
        rejected=same if final else (),
        error_code=error.code,
        error=error.message,
    )
