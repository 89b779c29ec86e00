"""Reads the entries of an Ultimate SMS server's answers, and its refusals.

The documents print only `status`, `message` and `data`: what is in `data` is beyond them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.failure_reasons import Explanation
from dispatcher.providers.shared.answers import read_json, refusal_error
from dispatcher.providers.shared.error_texts import error_texts, redacted
from dispatcher.providers.shared.fields import read_amount, read_id, read_text, squeeze_word
from dispatcher.providers.shared.matching import AskedNumbers, AskedTargets, drop_shared_ids
from dispatcher.status import MessageState
from dispatcher.types import (
    DeliveryReport,
    HttpResponse,
    RecipientResult,
)

#: Laravel says this before it does anything else, under 401 and, at some servers, under 200.
_BEFORE_ALL: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {"unauthenticated": ErrorKind.CREDENTIALS}
)
#: The documents print no refusal, only "a human-readable description of the error". These texts,
#: and no others, prove that nothing was sent.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        **_BEFORE_ALL,
        "not enough balance": ErrorKind.CREDIT,
        "insufficient balance": ErrorKind.CREDIT,
    }
)
#: What the server itself says about a single recipient, before it tries.
_RECIPIENT_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {"number contains in the blacklist": ErrorKind.RECIPIENTS}
)
#: The server's own words, in lower case, and plain English words for messages on their way.
_STATES: Final[Mapping[str, MessageState]] = MappingProxyType(
    {
        "enroute": MessageState.SUBMITTED,
        "accepted": MessageState.SUBMITTED,
        "sent": MessageState.SUBMITTED,
        "queued": MessageState.SUBMITTED,
        "pending": MessageState.SUBMITTED,
        "scheduled": MessageState.SUBMITTED,
        "processing": MessageState.SUBMITTED,
        "delivered": MessageState.DELIVERED,
        "undelivered": MessageState.UNDELIVERED,
        "expired": MessageState.EXPIRED,
        "rejected": MessageState.UNDELIVERED,
        "skipped": MessageState.UNDELIVERED,
        "failed": MessageState.UNDELIVERED,
    }
)
#: In the answer to a submission: the message was not sent on. "Failed" may have been.
_REFUSED: Final = frozenset({"rejected", "skipped"})
#: The server's own words, and what they mean; the documents print none of them.
REASONS: Final[Mapping[str, Explanation]] = MappingProxyType(
    {
        "number contains in the blacklist": Explanation(
            "the number is on the blacklist that your account has at the provider",
            "take the number off your list, or off the blacklist in the provider's panel",
            may_help=False,
        ),
        "rejected": Explanation(
            "the provider or its operator refused the message",
            "ask the provider why, before you retry",
            may_help=False,
        ),
        "skipped": Explanation(
            "the provider left the number out: it has no route or no price for it",
            "ask the provider whether it serves this country and operator",
            may_help=False,
        ),
        "failed": Explanation(
            "the provider's operator could not deliver it, and gave no reason",
            "retry once; who fails again needs another provider, or has no valid number",
            may_help=True,
        ),
    }
)
_NUMBERS: Final = re.compile(r"[0-9]{7,20}")


def ultimate_sms_refusal(
    answer: Mapping[str, Any], response: HttpResponse, hide: Iterable[str], *, alone: bool = False
) -> ProviderError:
    """The error for an answer that is not a success; `alone`: the request has one recipient.

    A 403 may pass on a refusal of the server's own upstream, after some messages went out: it says
    nothing about this account's balance.
    """
    known = _BEFORE_ALL if response.status == 403 else _REFUSALS
    return refusal_error(
        error_texts(answer),
        {**known, **_RECIPIENT_REFUSALS} if alone else known,
        response=response,
        contradicted=bool(answer.get("data")),
        hide=hide,
    )


def is_unknown_message(response: HttpResponse) -> bool:
    """Whether it is the server's JSON 404 for an unknown `uid`; a wrong URL gets an HTML page."""
    try:
        return response.status == 404 and isinstance(read_json(response), dict)
    except ProviderError:
        return False


def read_results(entries: Sequence[object], asked: Sequence[int]) -> tuple[RecipientResult, ...]:
    """The results of the recipients that `entries` name in `to`, once each.

    A single report about a single recipient may lack `to`. A report with neither a `uid` nor a
    status that we know says nothing.
    """
    numbers = AskedNumbers(asked)
    found: dict[int, RecipientResult] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = numbers.find_msisdn(entry.get("to"), entries=len(entries))
        result = None if msisdn is None else _read_result(entry, msisdn)
        if result is None:
            continue
        known = found.get(result.msisdn)
        if known is None or (result.accepted and not known.accepted):
            found[result.msisdn] = result
    return drop_shared_ids(found.values())


def accept_all_but_named(
    answer: Mapping[str, Any], asked: Sequence[int]
) -> tuple[RecipientResult, ...]:
    """All of `asked` as accepted, without ids, except those that `message` names as invalid."""
    numbers = AskedNumbers(asked)
    named = set(map(numbers.find_msisdn, _NUMBERS.findall(" ".join(error_texts(answer)))))
    return tuple(
        RecipientResult(msisdn=msisdn, accepted=True) for msisdn in asked if msisdn not in named
    )


def read_message(
    entry: Mapping[str, Any], targets: AskedTargets, entries: int
) -> DeliveryReport | None:
    """The state of a message; None where it is not about a target, or has no status."""
    target = targets.find_target(entry.get("to"), read_id(entry.get("uid")), entries=entries)
    status = read_status(entry)
    if target is None or not status.word:
        return None
    return DeliveryReport(
        msisdn=target.msisdn,
        state=status.state,
        raw=status.word,
        provider_message_id=target.provider_message_id,
        provisional=status.provisional,
        error_code=status.reason,
        cost=read_amount(entry.get("cost")),
    )


def _read_result(entry: Mapping[str, Any], msisdn: int) -> RecipientResult | None:
    message_id = read_id(entry.get("uid"))
    word, reason, *_ = read_status(entry)
    if squeeze_word(word) in _REFUSED:
        return RecipientResult(
            msisdn=msisdn,
            accepted=False,
            provider_message_id=message_id,
            error_code=word,
            error=": ".join(filter(None, (word, reason))),
        )
    if message_id is None and squeeze_word(word) not in _STATES:
        return None
    return RecipientResult(
        msisdn=msisdn,
        accepted=True,
        provider_message_id=message_id,
        cost=read_amount(entry.get("cost")),
    )


class MessageStatus(NamedTuple):
    """The word before `|`, the text after it where that is a reason, and what both mean."""

    word: str
    reason: str | None
    state: MessageState
    provisional: bool


def read_status(entry: Mapping[str, Any]) -> MessageStatus:
    """The status of an entry.

    A word that is not the server's own comes from its upstream and means a failure. There is no
    list of these words, so none of them is final.
    """
    text = read_text(entry, "customer_status") or read_text(entry, "status")
    word, _, detail = text.partition("|")
    shown = redacted(word)
    state = _STATES.get(squeeze_word(word)) if word else MessageState.SUBMITTED
    if state is None:
        return MessageStatus(shown, shown, MessageState.UNDELIVERED, provisional=True)
    # After "Delivered" and "Enroute" the detail is an id of the server's upstream.
    failed = state in {MessageState.UNDELIVERED, MessageState.EXPIRED}
    return MessageStatus(
        shown, (redacted(detail) or None) if failed else None, state, provisional=False
    )
