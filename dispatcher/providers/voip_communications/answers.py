"""Reads the entries of voip-communications.net's answers: of `send_log`, and of `sms/summary`.

The document prints one entry of the first, and nothing of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.shared.answers import (
    read_amount,
    read_id,
    refusal_error,
    unreadable_error,
)
from dispatcher.providers.shared.error_texts import error_texts, redacted
from dispatcher.providers.shared.matching import (
    AskedNumbers,
    drop_shared_ids,
    is_sender_name,
    read_msisdn,
)
from dispatcher.status import MessageState
from dispatcher.types import HttpResponse, ListedMessage, RecipientResult, SubmitOutcome

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
#: The document prints no refusal of a recipient: these can mean one thing only. With any other
#: text the recipient is in doubt, whatever the code.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        **_REQUEST_REFUSALS,
        "invalid number": ErrorKind.RECIPIENTS,
        "invalid phone number": ErrorKind.RECIPIENTS,
        "invalid destination number": ErrorKind.RECIPIENTS,
    }
)
#: The account's own trouble: who met it in the middle of a request can be sent to later.
_STOPS: Final = frozenset({ErrorKind.CREDIT, ErrorKind.CREDENTIALS})
#: Word → state, and whether provisional. SCHEDULED is the document's, the others are plain English;
#: of some of those nobody says that the server will not try again. Any other word: not final.
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
#: The summary has what came in, too; its status may tell the direction.
_INBOUND: Final = frozenset({"received", "inbound", "incoming"})


def voip_refusal(
    answer: object, what: str, *, response: HttpResponse, hide: Iterable[str], alone: bool = False
) -> ProviderError:
    """The error for an answer without its list `what`; `alone`: it is about one recipient."""
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
    hide: Sequence[str],
) -> SubmitOutcome:
    """What `send_log` says of each of `msisdns` that stands in it.

    Raises ProviderError where it has none of them, or where it says the same of all and that is
    no refusal of a number: no balance, or words that nobody knows.
    """
    asked = AskedNumbers(msisdns)
    results: dict[int, RecipientResult] = {}
    errors: dict[int, ProviderError | None] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = asked.find_msisdn(entry.get("to"), entries=len(entries))
        if msisdn is None:
            continue
        error = _explain_entry(entry, response, hide)
        result = _entry_result(entry, msisdn, error)
        if msisdn not in results or _rank_result(result) > _rank_result(results[msisdn]):
            results[msisdn], errors[msisdn] = result, error
    if not results:
        raise unreadable_error("entries in send_log")
    said = {error and (error.kind, error.message) for error in errors.values()}
    first = next(iter(errors.values()))
    same_of_all = len(said) == 1 and len(results) == len(msisdns)
    if same_of_all and first is not None and first.kind is not ErrorKind.RECIPIENTS:
        raise first
    # "a unique code for the process": where that is the request, it is no recipient's own.
    ids = [result.provider_message_id for result in results.values() if result.accepted]
    stops = (error.kind for error in errors.values() if error and error.kind in _STOPS)
    return SubmitOutcome(
        results=drop_shared_ids(results.values()),
        job_id=ids[0] if len(ids) > 1 == len(set(ids)) else None,
        stopped_by=next(stops, None),
    )


def read_summary_entry(entry: object, zone: str | None) -> ListedMessage | None:
    """An entry of `sms/summary`; None where it came in, or has no id of its own."""
    if not isinstance(entry, dict):
        return None
    # The fields' names are those that one public client reads.
    message_id, number = read_id(entry.get("sms_id")), entry.get("sms_external")
    raw = read_text(entry, "sms_status")
    word = "".join(raw.casefold().split())
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
        # The status's date: the message was made then, or before.
        created_at=read_time(read_text(entry, "sms_status_date"), zone),
        provisional=provisional,
        cost=read_amount(entry.get("sms_sale")),
    )


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
    # Beside code 200 `status` is SCHEDULED, in the example of an immediate send, too.
    return RecipientResult(
        msisdn=msisdn,
        accepted=True,
        provider_message_id=read_id(entry.get("smsid")),
        cost=read_amount(entry.get("sale")),
    )


def _rank_result(result: RecipientResult) -> int:
    """Of two entries on one number, the one counts by which its handset is likelier to ring."""
    return 2 if result.accepted else int(result.in_doubt)


def read_text(entry: Mapping[str, Any], field: str) -> str:
    value = entry.get(field)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def read_time(text: str, zone: str | None) -> datetime | None:
    """A time that is printed without its zone; None where nobody knows it."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
