"""What an answer means before its fields are read: HTTP statuses, JSON, known refusals.

A provider's own fields are read by its adapter, single values by `fields.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.backoff import MAX_RETRY_AFTER_S
from dispatcher.providers.shared.error_texts import error_texts, redacted
from dispatcher.types import HttpResponse

T = TypeVar("T")

#: Texts beside a refusal, or instead of one, that neither prove nor hide anything.
_EMPTY_TEXTS: Final = frozenset(
    {"error", "failure", "failed", "bad request", "forbidden", "unprocessable entity"}
)
#: Larger bodies are parsed only where they are not dense: `{},{},…` costs 30 times its bytes in
#: memory, while an entry of a real answer has some 15 bytes for each of these characters.
_DENSE_FROM_BYTES: Final = 256 * 1024
_STRUCTURAL: Final = (b"{", b"[", b",")
_LEAST_BYTES_PER_STRUCTURAL: Final = 8

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
    """What an HTTP status alone means (RFC 9110, 15); None where the body decides.

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

    `hide` holds what the error must not show: the account's secrets and the texts of the request.
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
    shown = redacted(said, hide=hide)
    raise ProviderError(
        kind,
        ": ".join(filter(None, (place, shown))) or f"the provider answered HTTP {response.status}",
        code=str(response.status),
        retry_after_s=retry_after_s(response.headers),
        hint=hint,
    )


def read_json(response: HttpResponse) -> object:
    """The body's JSON value (RFC 8259). Raises ProviderError DOUBTFUL where there is none.

    A body in another charset than UTF-8 loses its letters only: ids and numbers are ASCII.
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


def read_answer(response: HttpResponse, *, url: str, hide: Iterable[str]) -> Mapping[str, Any]:
    """The answer's JSON object, whatever it says; `url` and `hide` as in `check_status`.

    For providers that do not document HTTP statuses: the body decides where the status does not.
    Raises ProviderError where the status decides, or the body is not a JSON object.
    """
    check_status(response, url=url, hide=hide)
    answer = read_json(response)
    if not isinstance(answer, dict):
        raise unreadable_error("object")
    return answer


def is_success(answer: Mapping[str, Any], *, otherwise: bool = False) -> bool:
    """Whether `status` is "success", in any case; `otherwise` where there is no `status`."""
    status = answer.get("status")
    if status is None:
        return otherwise
    return isinstance(status, str) and status.strip().casefold() == "success"


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

    `known` maps the provider's refusals, whole and in lower case, to their kinds. DOUBTFUL where a
    text is not among them, where the texts disagree, or where the answer shows elsewhere that
    messages were accepted (`contradicted`): "not enough credits for 3 of 9" has sent six.
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
        message or "the provider refused and gave no reason",
        code=_error_code(code) or str(response.status),
        retry_after_s=retry_after_s(response.headers),
        hint=HINTS.get(kind),
    )


def unreadable_error(what: str) -> ProviderError:
    """The error for JSON that is not as the provider's document has it."""
    return ProviderError(ErrorKind.DOUBTFUL, f"the provider's answer has no readable {what}")


def parse_or_none(response: HttpResponse, parse: Callable[[HttpResponse], T]) -> T | None:
    """What `parse` reads; None for JSON that it cannot interpret: the provider is up all the same.

    Raises ProviderError for a 5xx, for a body that is not JSON, and for a refusal of a known kind.
    """
    try:
        return parse(response)
    except ProviderError as error:
        if error.kind is not ErrorKind.DOUBTFUL or response.status >= 500:
            raise
        read_json(response)
        return None


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, 10.2.3), 0 to a day; None without one.

    A longer wait is a mistake or a ban: asking once a day finds out which. A date is compared with
    the answer's own `Date`, so that clocks need not agree; without one, with `now`.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    until = _read_http_date(value)
    if until is None:
        return None
    since = _read_http_date(headers.get("date", "")) or now or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _parse_json(body: bytes) -> object:
    """Raises orjson.JSONDecodeError, and ProviderError for a body that memory could not hold."""
    if len(body) > _DENSE_FROM_BYTES:
        structural = sum(map(body.count, _STRUCTURAL))
        if structural > len(body) // _LEAST_BYTES_PER_STRUCTURAL:
            raise ProviderError(
                ErrorKind.DOUBTFUL,
                "the provider's answer is large and almost empty, so it was not read",
            )
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
    except (orjson.JSONDecodeError, ProviderError):
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
