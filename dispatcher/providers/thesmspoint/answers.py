"""Reads the fields and entries of TheSMSPoint's answers, and its refusals.

The document contradicts itself in places: each is settled beside the line it made necessary.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.shared.answers import (
    check_status,
    read_id,
    read_json,
    refusal_error,
    unreadable_error,
)
from dispatcher.providers.shared.error_texts import error_texts, one_line, redacted
from dispatcher.providers.shared.matching import AskedNumbers, AskedTargets, drop_shared_ids
from dispatcher.status import Kind, MessageState
from dispatcher.types import DeliveryReport, HttpResponse, RecipientResult, SenderId, Template

#: Every refusal that the document prints. Only these prove that nothing was sent.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "api key does not exists": ErrorKind.CREDENTIALS,
        "request type not allowed": ErrorKind.CONFIGURATION,
        "sms credits not available": ErrorKind.CREDIT,
    }
)
#: Where a submission's answer has ids.
_ID_FIELDS: Final = ("JobId", "MessageData", "message_id")
#: "Delivery status" of the document, without case and spaces. "Expired" is explained there as
#: "Message pending, the message is en route"; a bare "U" is UnDelivered. Any other word: not final.
_STATES: Final[Mapping[str, MessageState]] = MappingProxyType(
    {
        "sent": MessageState.SUBMITTED,
        "delivered": MessageState.DELIVERED,
        "undelivered": MessageState.UNDELIVERED,
        "u": MessageState.UNDELIVERED,
        "expired": MessageState.EXPIRED,
    }
)
_APPROVED: Final = "approved"


def read_answer(response: HttpResponse, url: str, hide: Iterable[str]) -> Mapping[str, Any]:
    """The answer's JSON object. Raises ProviderError where the HTTP status decides, or it is none.

    HTTP statuses are not documented, so the body decides wherever the status leaves it a choice.
    """
    check_status(response, url=url, hide=hide)
    answer = read_json(response)
    if not isinstance(answer, dict):
        raise unreadable_error("object")
    return answer


def thesmspoint_refusal(
    answer: Mapping[str, Any], response: HttpResponse, hide: Iterable[str]
) -> ProviderError:
    """The error for an answer that does not say success; known by the document's texts alone."""
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


def is_success(answer: Mapping[str, Any], *, otherwise: bool = False) -> bool:
    """Whether `status` says so: success, error or failure, in any case; `otherwise` without one."""
    status = answer.get("status")
    if status is None:
        return otherwise
    return isinstance(status, str) and status.strip().casefold() == "success"


def is_zero(code: object) -> bool:
    """Whether an `ErrorCode` is "000", or not there."""
    return code is None or (isinstance(code, int | str) and not str(code).strip(" 0"))


def read_accepted(
    asked: AskedNumbers, entries: Sequence[object], job_id: str | None
) -> tuple[RecipientResult, ...]:
    """Who stands in `MessageData`, once each; one without an id only where there is a job's."""
    results: dict[int, RecipientResult] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = asked.find_msisdn(entry.get("Number"), entries=len(entries))
        message_id = read_id(entry.get("message_id"))
        if msisdn is not None and (message_id or job_id):
            result = RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            results.setdefault(msisdn, result)
    return drop_shared_ids(results.values())


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
    state = _STATES.get("".join(raw.casefold().split()), MessageState.SUBMITTED)
    return DeliveryReport(
        msisdn=target.msisdn,
        state=state,
        raw=redacted(raw),
        provider_message_id=target.provider_message_id,
        provisional=state is MessageState.EXPIRED,
        error_code=redacted(read_text(entry, "delivery_status_remark")) or None,
    )


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


def read_text(entry: Mapping[str, Any], field: str) -> str:
    value = entry.get(field)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _read_kind(entry: Mapping[str, Any], field: str) -> Kind | None:
    word = read_text(entry, field).casefold()
    return Kind(word) if word in set(Kind) else None
