"""The parts of a provider's table of cases, and the cases that every provider must have."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dispatcher.errors import ErrorKind
from dispatcher.status import MessageState
from dispatcher.types import (
    Balance,
    DeliveryReport,
    HttpResponse,
    ListPage,
    PollRef,
    SenderId,
    SubmitBatch,
    SubmitOutcome,
    Template,
)


class Must(StrEnum):
    """The answers to a submission that every provider must have a case for, or a reason why not."""

    ALL_ACCEPTED = "all accepted"
    PARTLY_REFUSED = "some accepted, some refused"
    ALL_REFUSED = "all refused"
    CREDENTIALS = "credentials refused"
    CREDIT = "no credit"
    THROTTLED = "429 without Retry-After"
    THROTTLED_SECONDS = "429 with Retry-After in seconds"
    THROTTLED_DATE = "429 with Retry-After as a date"
    SERVER_ERROR = "5xx"
    HTML = "HTML under 200"
    TRUNCATED = "truncated JSON under 200"
    UNKNOWN_CODE = "an unknown code"
    MISSING = "recipients missing from the answer"
    DOUBLED = "recipients doubled in the answer"
    REORDERED = "recipients in another order"
    NOT_ASKED = "recipients that were not in the request"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One request that an adapter builds; `body` is its decoded JSON, or its form's fields."""

    method: str = "POST"
    url: str
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True, kw_only=True)
class Build:
    """A batch, and the requests it becomes."""

    name: str
    batch: SubmitBatch
    requests: tuple[Expected, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The ProviderError that an answer becomes; `says` is in its message, `hints` in its hint."""

    kind: ErrorKind
    says: str = ""
    hints: str = ""
    code: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Submit:
    """An answer to a submission to `asked`, and what it means."""

    name: str
    covers: Must | None = None
    asked: tuple[int, ...]
    response: HttpResponse
    means: SubmitOutcome | Failure


@dataclass(frozen=True, kw_only=True)
class Poll:
    """An answer to a status request for `ref`, and what it means."""

    name: str
    ref: PollRef
    response: HttpResponse
    means: tuple[DeliveryReport, ...] | Failure


@dataclass(frozen=True, kw_only=True)
class Read:
    """An answer to a request for the balance, the senders or the templates, and what it means."""

    name: str
    response: HttpResponse
    means: tuple[Balance | SenderId | Template, ...] | Failure


@dataclass(frozen=True, kw_only=True)
class Listing:
    """An answer to the request for page `page` of what was accepted, and what it means."""

    name: str
    page: int = 0
    response: HttpResponse
    means: ListPage | Failure


@dataclass(frozen=True, kw_only=True)
class ContactList:
    """An answer to a campaign to the provider's contact lists: its handle, if any."""

    name: str
    response: HttpResponse
    means: str | Failure | None


@dataclass(frozen=True, kw_only=True)
class StatusWords:
    """Every status word of the provider's document, and how it answers with one of them.

    Without `ref` the answer is a page of its list, with one message.
    """

    ref: PollRef | None = None
    answer: Callable[[str], HttpResponse]
    #: Word → state, and whether the report is provisional.
    words: Mapping[str, tuple[MessageState, bool]]
    #: What any other word means; it must not be final.
    unknown: tuple[MessageState, bool] = (MessageState.SUBMITTED, False)


@dataclass(frozen=True, kw_only=True)
class ProviderCases:
    """All cases of one provider; `settings` are the keys of its account."""

    settings: Mapping[str, object]
    build: tuple[Build, ...]
    submit: tuple[Submit, ...]
    #: An answer that refuses a request with the given text.
    refuses: Callable[[str], HttpResponse]
    not_applicable: Mapping[Must, str] = field(default_factory=dict)
    poll: tuple[Poll, ...] = ()
    status_words: StatusWords | None = None
    lists_accepted: tuple[Listing, ...] = ()
    contact_lists: tuple[ContactList, ...] = ()
    balance: tuple[Read, ...] = ()
    senders: tuple[Read, ...] = ()
    templates: tuple[Read, ...] = ()


def answer(body: object, status: int = 200, **headers: str) -> HttpResponse:
    """A JSON answer; header names are given with underscores."""
    return raw(json.dumps(body).encode(), status, **headers)


def raw(body: bytes, status: int = 200, **headers: str) -> HttpResponse:
    """An answer with this body, whatever it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=named, body=body)


HTML = raw(b"<!DOCTYPE html><html><body>Whoops</body></html>", content_type="text/html")


def alike(asked: tuple[int, ...], accepted: object) -> tuple[Submit, ...]:
    """Cases that all providers share; `accepted` is the JSON that accepts all `asked`."""
    whole = answer(accepted)
    until = {
        "retry_after": "Thu, 31 Jan 2030 12:01:30 GMT",
        "date": "Thu, 31 Jan 2030 12:00:00 GMT",
    }
    doubt = Failure(kind=ErrorKind.DOUBTFUL)

    def throttled(wait_s: float | None, **headers: str) -> tuple[HttpResponse, Failure]:
        means = Failure(kind=ErrorKind.THROTTLED, code="429", retry_after_s=wait_s)
        return raw(HTML.body, 429, **headers), means

    def wrong(status: int, says: str, hints: str, **headers: str) -> tuple[HttpResponse, Failure]:
        means = Failure(kind=ErrorKind.CONFIGURATION, says=says, hints=hints)
        return raw(HTML.body, status, **headers), means

    rows: list[tuple[str, Must | None, tuple[HttpResponse, Failure]]] = [
        ("too many requests", Must.THROTTLED, throttled(None)),
        ("… wait seconds", Must.THROTTLED_SECONDS, throttled(30.0, retry_after="30")),
        ("… wait until", Must.THROTTLED_DATE, throttled(90.0, **until)),
        (
            "the server failed",
            Must.SERVER_ERROR,
            (raw(HTML.body, 502), replace(doubt, says="HTTP 502", code="502")),
        ),
        ("the server failed after success", None, (replace(whole, status=500), doubt)),
        ("HTML", Must.HTML, (HTML, doubt)),
        ("HTML under 403", None, (replace(HTML, status=403), doubt)),
        ("HTML under 400", None, (replace(HTML, status=400), doubt)),
        ("half an answer", Must.TRUNCATED, (raw(whole.body[:-20]), doubt)),
        ("nothing", None, (raw(b""), doubt)),
        ("no such page", None, wrong(404, "HTTP 404 from https://", "base_url")),
        ("no such method", None, wrong(405, "HTTP 405 from https://", "base_url")),
        (
            "elsewhere",
            None,
            wrong(
                301,
                "redirected to https://www.example.com/",
                "",
                location="https://www.example.com/",
            ),
        ),
        ("too large", None, wrong(413, "HTTP 413", "max_recipients")),
    ]
    return tuple(
        Submit(name=name, covers=covers, asked=asked, response=response, means=means)
        for name, covers, (response, means) in rows
    )
