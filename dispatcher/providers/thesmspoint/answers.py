"""Reads the entries of TheSMSPoint's answers, and its refusals.

Where the document contradicts itself, a comment says how we read it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, repeat
from operator import itemgetter, methodcaller
from types import MappingProxyType
from typing import Any, Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.failure_reasons import Explanation
from dispatcher.providers.shared.answers import refusal_error
from dispatcher.providers.shared.error_texts import error_texts, one_line, redacted
from dispatcher.providers.shared.fields import read_id, read_text, squeeze_word
from dispatcher.providers.shared.matching import AskedTargets, match_plain_targets
from dispatcher.status import Kind, MessageState
from dispatcher.tuples import make_tuples
from dispatcher.types import DeliveryReport, HttpResponse, PollTarget, SenderId, Template

#: Every refusal that the document prints. Only these prove that nothing was sent.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "api key does not exists": ErrorKind.CREDENTIALS,
        "request type not allowed": ErrorKind.CONFIGURATION,
        "sms credits not available": ErrorKind.CREDIT,
    }
)
#: The fields of a submission's answer that hold ids.
_ID_FIELDS: Final = ("JobId", "MessageData", "message_id")
#: "Delivery status" of the document, without case and spaces. It explains "Expired" as "Message
#: pending, the message is en route"; a bare "U" is UnDelivered. Any other word is not final.
_STATES: Final[Mapping[str, MessageState]] = MappingProxyType(
    {
        "sent": MessageState.SUBMITTED,
        "delivered": MessageState.DELIVERED,
        "undelivered": MessageState.UNDELIVERED,
        "u": MessageState.UNDELIVERED,
        "expired": MessageState.EXPIRED,
    }
)
#: Of an entry in a list: the status, the number and the id.
_STATUS_FIELDS: Final = ("status_name", "mobile_number", "message_id")
#: "For example the handset may have been switched off or out of signal range for a long period of
#: time, usually more than 48 hours": the document's note on `U`, the only reason that it gives.
_UNDELIVERED: Final = Explanation(
    "not delivered; TheSMSPoint: the handset may have been switched off or out of signal range "
    "for a long time, usually more than 48 hours",
    "retry once at another time of day; who fails again has a number that is out of use",
    may_help=True,
)
REASONS: Final[Mapping[str, Explanation]] = MappingProxyType(
    {
        "undelivered": _UNDELIVERED,
        "u": _UNDELIVERED,
        "expired": Explanation(
            'the validity ended while TheSMSPoint still said "Message pending, the message is en '
            'route"',
            "retry at another time of day; a few of them may still get the first message",
            may_help=True,
        ),
    }
)
_APPROVED: Final = "approved"


def thesmspoint_refusal(
    answer: Mapping[str, Any], response: HttpResponse, hide: Iterable[str]
) -> ProviderError:
    """The error for an answer that is not a success. Only the document's texts are known."""
    data = answer.get("data")
    fields = data if isinstance(data, dict) else {}
    # "These error descriptions can be found in the errors field"; its examples: in `message`.
    texts = [*error_texts(answer, ("message", "errors")), *error_texts(fields, ("ErrorMessage",))]
    return refusal_error(
        texts,
        _REFUSALS,
        response=response,
        code=fields.get("ErrorCode") or answer.get("code"),
        contradicted=any(map(fields.get, _ID_FIELDS)) if fields else bool(data),
        hide=hide,
    )


def is_zero(code: object) -> bool:
    """Whether an `ErrorCode` is "000" or missing."""
    return code is None or (isinstance(code, int | str) and not str(code).strip(" 0"))


def read_status_entry(
    entry: Mapping[str, Any], targets: AskedTargets, entries: int
) -> DeliveryReport | None:
    """An entry of a status answer, of either shape; None where it is not about a target."""
    # In the single object `status` is the request's, `delivery_status_id` the message's.
    raw = read_text(entry, "status_name") or read_text(entry, "delivery_status_id")
    number = entry.get("mobile_number") or entry.get("recipient")
    target = targets.find_target(number, read_id(entry.get("message_id")), entries=entries)
    if target is None or not raw:
        return None
    state = _STATES.get(squeeze_word(raw), MessageState.SUBMITTED)
    return DeliveryReport(
        msisdn=target.msisdn,
        state=state,
        raw=redacted(raw),
        provider_message_id=target.provider_message_id,
        provisional=state is MessageState.EXPIRED,
        error_code=redacted(read_text(entry, "delivery_status_remark")) or None,
    )


def read_plain_statuses(data: object, targets: Sequence[PollTarget]) -> list[DeliveryReport] | None:
    """As `read_status_entry` for a list like the document's, in which nothing is odd; else None.

    That is what nearly all answers are, and each has thousands of entries. Entries about other
    numbers are left out: those of messages that are final already.
    """
    if not isinstance(data, list) or not targets:
        return None
    try:
        words, shown, ids = ([*map(itemgetter(field), data)] for field in _STATUS_FIELDS)
        distinct = {*words}
        remarks = {*map(methodcaller("get", "delivery_status_remark"), data)}
    except (AttributeError, KeyError, TypeError):
        return None
    if not all(isinstance(word, str) and word.strip() for word in distinct) or remarks - {None, ""}:
        return None
    msisdns = match_plain_targets(targets, shown, ids)
    if msisdns is None:
        return None
    state_of = {word: _STATES.get(squeeze_word(word), MessageState.SUBMITTED) for word in distinct}
    raw_of = {word: redacted(word.strip()) for word in distinct}
    states = [*map(state_of.__getitem__, words)]
    rows = zip(
        msisdns, states, map(raw_of.__getitem__, words), ids,
        [state is MessageState.EXPIRED for state in states], repeat(None), repeat(None),
        strict=False,
    )  # fmt: skip
    return make_tuples(DeliveryReport, compress(rows, msisdns))


def read_sender(entry: Mapping[str, Any]) -> SenderId | None:
    """An entry of `get-sender-id`; None without a usable id ("Used to send the message")."""
    ref = read_id(entry.get("id"))
    if ref is None:
        return None
    status = one_line(read_text(entry, "approve_status"))
    return SenderId(
        ref=ref,
        name=one_line(read_text(entry, "sender_id")),
        kind=_read_kind(entry, "type_value"),
        approved=status.casefold() == _APPROVED,
        status=status,
        purpose=one_line(read_text(entry, "purpose_value")) or None,
    )


def read_template(entry: Mapping[str, Any]) -> Template | None:
    """An entry of `get-templates`; None without a `template_id` ("Used to send messages")."""
    ref = read_id(entry.get("template_id"))
    if ref is None:
        return None
    status = one_line(read_text(entry, "template_status"))
    return Template(
        ref=ref,
        name=one_line(read_text(entry, "name")),
        text=read_text(entry, "message"),
        kind=_read_kind(entry, "type"),
        approved=status.casefold() == _APPROVED,
        status=status,
        sender=one_line(read_text(entry, "sender_id")) or None,
        id=read_id(entry.get("id")),
    )


def _read_kind(entry: Mapping[str, Any], field: str) -> Kind | None:
    word = read_text(entry, field).casefold()
    return Kind(word) if word in set(Kind) else None
