"""Reads the entries of voip-communications.net's answers: of `send_log` and of `sms/summary`.

The document prints one entry of `send_log`, and nothing of `sms/summary`.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.failure_reasons import Explanation
from dispatcher.providers.shared.answers import refusal_error, unreadable_error
from dispatcher.providers.shared.error_texts import error_texts, redacted
from dispatcher.providers.shared.fields import (
    read_amount,
    read_id,
    read_text,
    read_time,
    squeeze_word,
)
from dispatcher.providers.shared.matching import (
    AskedNumbers,
    drop_shared_ids,
    is_sender_name,
    read_msisdn,
)
from dispatcher.providers.shared.pushes import name_fields
from dispatcher.status import MessageState
from dispatcher.types import (
    DeliveryReport,
    HttpResponse,
    InboundMessage,
    ListedMessage,
    PushContent,
    RecipientResult,
    SubmitOutcome,
)

#: A recipient's `code`, as a number or as text.
_ACCEPTED: Final = "200"
#: Refusals of a whole request. The document prints the first, with HTTP 401.
_REQUEST_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "invalid api credentials": ErrorKind.CREDENTIALS,
        "not enough balance": ErrorKind.CREDIT,
        "insufficient balance": ErrorKind.CREDIT,
    }
)
#: The document prints no refusal of a recipient. These texts can mean one thing only; any other
#: text leaves the recipient in doubt, whatever the code.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        **_REQUEST_REFUSALS,
        "invalid number": ErrorKind.RECIPIENTS,
        "invalid phone number": ErrorKind.RECIPIENTS,
        "invalid destination number": ErrorKind.RECIPIENTS,
    }
)
#: Reasons of the account: these recipients were not sent and can be tried later.
_STOPS: Final = frozenset({ErrorKind.CREDIT, ErrorKind.CREDENTIALS})
#: Word → state, and whether provisional. SCHEDULED is the document's, the others are plain English;
#: the server may try again after some of these. Any other word is not final.
_STATES: Final[Mapping[str, tuple[MessageState, bool]]] = MappingProxyType(
    {
        "scheduled": (MessageState.SUBMITTED, False),
        "sent": (MessageState.SUBMITTED, False),
        "delivered": (MessageState.DELIVERED, False),
        "undelivered": (MessageState.UNDELIVERED, False),
        "failed": (MessageState.UNDELIVERED, True),
        "rejected": (MessageState.UNDELIVERED, True),
        "expired": (MessageState.EXPIRED, True),
    }
)
#: The document explains no failure; these are its summary's plain words.
REASONS: Final[Mapping[str, Explanation]] = MappingProxyType(
    {
        "rejected": Explanation(
            "the operator refused the message",
            "ask the provider why, before you retry",
            may_help=False,
        ),
        "failed": Explanation(
            "the operator could not deliver it, and gave no reason",
            "retry once; who fails again has a number that is out of use",
            may_help=True,
        ),
    }
)
#: The summary also lists inbound messages; the status may show the direction.
_INBOUND: Final = frozenset({"received", "inbound", "incoming"})


def voip_refusal(
    answer: object, what: str, *, response: HttpResponse, hide: Iterable[str], alone: bool = False
) -> ProviderError:
    """The error for an answer without its list `what`; `alone`: the request has one recipient."""
    texts = error_texts(answer)
    if not texts:
        return unreadable_error(what)
    known = _REFUSALS if alone else _REQUEST_REFUSALS
    return refusal_error(texts, known, response=response, hide=hide)


def read_send_log(
    entries: Sequence[object],
    msisdns: Sequence[int],
    *,
    response: HttpResponse,
    hide: Iterable[str],
) -> SubmitOutcome:
    """What `send_log` says about each of `msisdns`.

    Raises ProviderError where it names none of them, or where all of them have the same error and
    that is not a refusal of a number: no balance, or a text that we do not know.
    """
    found = _match_log(entries, AskedNumbers(msisdns), response, hide)
    if not found:
        raise unreadable_error("entries in send_log")
    results = [result for result, _ in found.values()]
    errors = [error for _, error in found.values()]
    common = errors[0] if len(found) == len(msisdns) and len(set(map(_said, errors))) == 1 else None
    if common is not None and common.kind is not ErrorKind.RECIPIENTS:
        raise common
    # "a unique code for the process": an id that all recipients share is the request's.
    ids = [result.provider_message_id for result in results if result.accepted]
    stops = (error.kind for error in errors if error and error.kind in _STOPS)
    return SubmitOutcome(
        results=drop_shared_ids(results),
        job_id=ids[0] if len(ids) > 1 == len(set(ids)) else None,
        stopped_by=next(stops, None),
    )


def read_summary_entry(entry: object, zone: str | None) -> ListedMessage | None:
    """An entry of `sms/summary`; None for an inbound message, and for one without an id."""
    if not isinstance(entry, dict):
        return None
    # These are the field names that a public client of this API reads.
    message_id, number = read_id(entry.get("sms_id")), entry.get("sms_external")
    raw = read_text(entry, "sms_status")
    word = squeeze_word(raw)
    if message_id is None or is_sender_name(number) or word in _INBOUND:
        return None
    state, provisional = _STATES.get(word, (MessageState.SUBMITTED, False))
    text = entry.get("sms_msg")
    return ListedMessage(
        provider_message_id=message_id,
        msisdn=read_msisdn(number),
        text=text if isinstance(text, str) else None,
        sender=None,
        state=state,
        raw=redacted(raw),
        # It is the date of the status: the message is as old or older.
        created_at=read_time(read_text(entry, "sms_status_date"), zone),
        provisional=provisional,
        cost=read_amount(entry.get("sms_sale")),
    )


def read_pushed(entries: Sequence[Mapping[str, Any]]) -> PushContent:
    """Replies and receipts among pushed entries, by the names of `send_log` or of the summary."""
    reports, replies, unknown = [], [], []
    for entry in entries:
        message_id = read_id(entry.get("smsid")) or read_id(entry.get("sms_id"))
        raw = read_text(entry, "status") or read_text(entry, "sms_status")
        word = squeeze_word(raw)
        if not word or word in _INBOUND:
            # Of the summary's inbound entries `sms_external` is the person.
            msisdn = read_msisdn(entry.get("from")) or read_msisdn(entry.get("sms_external"))
            text = read_text(entry, "msg") or read_text(entry, "sms_msg")
            if msisdn is not None and text:
                replies.append(InboundMessage(msisdn, text, message_id))
                continue
        else:
            msisdn = read_msisdn(entry.get("to")) or read_msisdn(entry.get("sms_external"))
            if msisdn is not None and message_id is not None:
                reports.append(_read_pushed_report(entry, msisdn, message_id, raw))
                continue
        unknown.append(entry)
    return PushContent(
        reports=tuple(reports),
        replies=tuple(replies),
        ignored=len(unknown),
        unknown_fields=name_fields(unknown[0]) if unknown else "",
    )


def _read_pushed_report(
    entry: Mapping[str, Any], msisdn: int, message_id: str, raw: str
) -> DeliveryReport:
    state, provisional = _STATES.get(squeeze_word(raw), (MessageState.SUBMITTED, False))
    cost = read_amount(entry.get("sale"))
    return DeliveryReport(
        msisdn=msisdn,
        state=state,
        raw=redacted(raw),
        provider_message_id=message_id,
        provisional=provisional,
        cost=read_amount(entry.get("sms_sale")) if cost is None else cost,
    )


def _match_log(
    entries: Sequence[object], asked: AskedNumbers, response: HttpResponse, hide: Iterable[str]
) -> dict[int, tuple[RecipientResult, ProviderError | None]]:
    """The result, and the error if any, of each number that `entries` name."""
    found: dict[int, tuple[RecipientResult, ProviderError | None]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = asked.find_msisdn(entry.get("to"), entries=len(entries))
        if msisdn is None:
            continue
        error = _explain_entry(entry, response, hide)
        result = _entry_result(entry, msisdn, error)
        if msisdn not in found or _rank_result(result) > _rank_result(found[msisdn][0]):
            found[msisdn] = result, error
    return found


def _said(error: ProviderError | None) -> tuple[ErrorKind, str] | None:
    return None if error is None else (error.kind, error.message)


def _explain_entry(
    entry: Mapping[str, Any], response: HttpResponse, hide: Iterable[str]
) -> ProviderError | None:
    """Why an entry does not prove that its recipient was accepted; None where it does."""
    code, message_id = read_text(entry, "code"), read_id(entry.get("smsid"))
    if code == _ACCEPTED and message_id is not None:
        return None
    return refusal_error(
        error_texts(entry, ("code_desc", "error_message", "error")),
        {} if code in {"", _ACCEPTED} else _REFUSALS,
        response=response,
        code=code,
        contradicted=message_id is not None,
        hide=hide,
    )


def _entry_result(
    entry: Mapping[str, Any], msisdn: int, error: ProviderError | None
) -> RecipientResult:
    if error is not None:
        return RecipientResult(
            msisdn=msisdn,
            accepted=False,
            in_doubt=error.kind is ErrorKind.DOUBTFUL,
            unsent=error.kind in _STOPS,
            error_code=error.code,
            error=error.message,
        )
    # Beside code 200 `status` is SCHEDULED, also in the example of an immediate send.
    return RecipientResult(
        msisdn=msisdn,
        accepted=True,
        provider_message_id=read_id(entry.get("smsid")),
        cost=read_amount(entry.get("sale")),
    )


def _rank_result(result: RecipientResult) -> int:
    """Rank of two entries about one number: accepted beats in doubt, which beats refused."""
    return 2 if result.accepted else int(result.in_doubt)
