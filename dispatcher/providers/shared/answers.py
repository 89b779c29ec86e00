"""The one table of answers: what HTTP statuses and known refusals mean; JSON, ids and amounts.

What a provider's own fields mean is its adapter's to say; whose number it is, `matching.py`'s.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final, TypeVar

import orjson

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.shared.error_texts import error_texts, redacted
from dispatcher.types import HttpResponse

T = TypeVar("T")

MAX_ID_LENGTH: Final = 128
#: A longer `Retry-After` is a mistake or a ban: asking once a day finds out which.
MAX_RETRY_AFTER_S: Final = 86_400.0

_NO_ID: Final = re.compile(r"-[0-9]+|0+")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,20})?")
#: Said beside a refusal, or instead of one: proves nothing, hides nothing.
_EMPTY_TEXTS: Final = frozenset(
    {"error", "failure", "failed", "bad request", "forbidden", "unprocessable entity"}
)

#: What a person can do, by kind; the same for all providers.
HINTS: Final[Mapping[ErrorKind, str]] = MappingProxyType(
    {
        ErrorKind.CREDENTIALS: "check the account's key; a provider may also limit a key to "
        "certain IP addresses, so check those of this machine too",
        ErrorKind.CREDIT: "top up the account at the provider",
        ErrorKind.CONFIGURATION: "check the account's `base_url`, and what the provider allows it",
    }
)


def kind_of_status(status: int) -> ErrorKind | None:
    """What an HTTP status alone says (RFC 9110, 15); None where the body decides.

    A 5xx may come after the messages were accepted.
    """
    if status == 401:
        return ErrorKind.CREDENTIALS
    if status in {404, 405, 413} or 300 <= status < 400:
        return ErrorKind.CONFIGURATION
    if status == 429:
        return ErrorKind.THROTTLED
    if 200 <= status < 500:
        return None
    return ErrorKind.DOUBTFUL


def check_status(response: HttpResponse, *, url: str, hide: Iterable[str] = ()) -> None:
    """Raise ProviderError where the HTTP status of the answer from `url` decides alone.

    `hide` holds what must not show in the error: the account's secrets, the texts of the request.
    """
    kind = kind_of_status(response.status)
    if kind is None:
        return
    said = "; ".join(error_texts(_parse_json_or_none(response.body)))
    hint = HINTS.get(kind)
    place = ""
    if kind is ErrorKind.CONFIGURATION:
        place = f"HTTP {response.status} from {url}"
        if response.status == 413:
            hint = "the request is too large for the provider: lower the account's `max_recipients`"
        elif response.status < 400:
            said = f"redirected to {response.headers.get('location', 'nowhere')}"
    cleaned = redacted(said, hide=hide)
    raise ProviderError(
        kind,
        ": ".join(filter(None, (place, cleaned)))
        or f"the provider answered HTTP {response.status}",
        code=str(response.status),
        retry_after_s=retry_after_s(response.headers),
        hint=hint,
    )


def read_json(response: HttpResponse) -> object:
    """The body's JSON value (RFC 8259). Raises ProviderError DOUBTFUL where it is none.

    Letters in another charset than UTF-8 are lost, not the answer: ids and numbers are ASCII.
    """
    try:
        return _parse_json(response.body)
    except orjson.JSONDecodeError:
        kind = redacted(response.headers.get("content-type", "")) or "no content type"
        raise ProviderError(
            ErrorKind.DOUBTFUL,
            f"the provider's answer (HTTP {response.status}, {kind}) is not JSON",
            code=str(response.status),
        ) from None


def refusal_error(
    texts: Iterable[str],
    known: Mapping[str, ErrorKind],
    *,
    response: HttpResponse,
    code: object = None,
    contradicted: bool = False,
    hide: Iterable[str] = (),
) -> ProviderError:
    """The error for an answer that refuses a request in `texts`.

    `known` has the provider's documented refusals, whole and in lower case. DOUBTFUL where any
    text is not among them, where they disagree, or where something else in the answer says that
    messages were taken (`contradicted`): "not enough credits for 3 of 9" has sent six.
    """
    texts = list(texts)
    said = [text for text in texts if _normalize_text(text) not in _EMPTY_TEXTS]
    kinds = {known.get(_normalize_text(text)) for text in said}
    kind = kinds.pop() if len(kinds) == 1 and not contradicted else None
    kind = kind or ErrorKind.DOUBTFUL
    place = "the provider refused, with ids of messages beside it" if contradicted else ""
    message = ": ".join(filter(None, (place, redacted("; ".join(said or texts), hide=hide))))
    return ProviderError(
        kind,
        message or "the provider refused without a word",
        code=_error_code(code) or str(response.status),
        retry_after_s=retry_after_s(response.headers),
        hint=HINTS.get(kind),
    )


def read_entries(value: object) -> list[object] | None:
    """The entries of a list; None where `value` is none.

    PHP makes an object of a list with gaps, and some servers leave the list around one entry out.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return None
    inner = list(value.values())
    return inner if all(isinstance(each, dict) for each in inner) else [value]


def parse_or_none(response: HttpResponse, parse: Callable[[HttpResponse], T]) -> T | None:
    """What an answer says; None where it is JSON that says nothing we know: an answer all the same.

    Raises ProviderError.
    """
    try:
        return parse(response)
    except ProviderError as error:
        if error.kind is not ErrorKind.DOUBTFUL or response.status >= 500:
            raise
        read_json(response)
        return None


def unreadable_error(what: str) -> ProviderError:
    """The error for JSON that is not as the provider's document has it."""
    return ProviderError(ErrorKind.DOUBTFUL, f"the provider's answer has no readable {what}")


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks to wait (RFC 9110, 10.2.3), 0 to a day; None if it does not.

    A date is counted from the answer's own `Date`, so that clocks need not agree; else from `now`.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    until = _read_http_date(value)
    if until is None:
        return None
    since = _read_http_date(headers.get("date", "")) or now or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def read_id(value: object) -> str | None:
    """A provider's id as text: printable ASCII, at most 128 characters; None where it is none.

    Neither is zero or a negative number, which such servers give where they have no id. JSON
    numbers past 64 bits have lost digits when they arrive here (as floats): no id.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    usable = 0 < len(text) <= MAX_ID_LENGTH and text.isascii() and text.isprintable()
    return text if usable and not _NO_ID.fullmatch(text) else None


def read_amount(value: object) -> Decimal | None:
    """A price or balance, from a JSON number or a string of digits; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value).strip()
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def _parse_json(body: bytes) -> object:
    # PHP servers put a byte order mark before JSON; RFC 8259, 8.1 lets parsers ignore it.
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = orjson.loads(text.decode(errors="replace"))
    return value


def _parse_json_or_none(body: bytes) -> object:
    try:
        return _parse_json(body)
    except orjson.JSONDecodeError:
        return None


def _error_code(value: object) -> str:
    return redacted(str(value)) if isinstance(value, int | str) else ""


def _normalize_text(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".! ")


def _read_http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
