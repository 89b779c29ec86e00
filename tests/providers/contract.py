"""What a provider's table of cases is made of, and which cases every provider must have."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dispatcher.errors import ErrorKind
from dispatcher.messages import (
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
from dispatcher.status import MessageState


class Must(StrEnum):
    """The answers to a submission that every provider has a case for, or a reason for none."""

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
    NOT_ASKED = "recipients who were not asked for"


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
    #: What any other word means: never final while it can change.
    unknown: tuple[MessageState, bool] = (MessageState.SUBMITTED, False)


@dataclass(frozen=True, kw_only=True)
class ProviderCases:
    """All cases of one provider; `settings` are the keys of its account."""

    settings: Mapping[str, object]
    build: tuple[Build, ...]
    submit: tuple[Submit, ...]
    #: An answer that refuses a request in the given words.
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
