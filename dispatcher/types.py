"""Frozen values that store, providers and workers exchange. They have no behaviour.

Those of which there are thousands in a request are named tuples: they are made and compared by the
thousand in C.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind, MessageState


class Recipient(NamedTuple):
    """A message to submit: `seq` is its place in the campaign, `msisdn` E.164 without `+`."""

    seq: int
    msisdn: int
    text: str
    #: Values of the provider template's variables, in its order.
    template_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a campaign's requests carry at an account: sender and template.

    Names as a person gave them, `…_ref` as the provider's ids. Resolved once, when the campaign is
    submitted, and stored with it.
    """

    sender: str
    template: str | None = None
    sender_ref: str | None = None
    template_ref: str | None = None
    #: The template's text at the provider; None if it does not say.
    template_text: str | None = None
    #: Whether the provider has confirmed it; if not, it is looked up before the first batch.
    is_found: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitBatch:
    """What an adapter needs to build a batch's requests: one encoding, one route."""

    recipients: tuple[Recipient, ...]
    encoding: Encoding
    kind: Kind
    route: Route
    flash: bool = False
    #: When the provider shall send it; None for now.
    schedule_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as bytes. `headers` hold the account's key: no repr or log shows them.

    `max_answer_bytes` limits the answer's body; a larger answer counts as none. `proxy` is the URL
    of an HTTP proxy, and may hold its password; adapters leave it out, their account sets it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    body: bytes | None = field(repr=False, default=None)
    max_answer_bytes: int = field(repr=False, default=1024 * 1024)
    proxy: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A complete answer. Header names are lower case; `body` is untrusted."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """One HTTP request that submits `recipients`, and nobody else.

    Raises ValueError for another method than POST: HTTP clients repeat idempotent methods by
    themselves when a kept connection breaks (RFC 9110, 9.2.2), and that would send twice.
    """

    http: HttpRequest
    recipients: tuple[Recipient, ...]

    def __post_init__(self) -> None:
        if self.http.method != "POST":
            raise ValueError(f"a submission must be a POST, not a {self.http.method}")


class RecipientResult(NamedTuple):
    """The provider's result for one recipient: accepted, or refused in its own words.

    `in_doubt`: neither, since its words are unknown to us. `unsent`: surely not sent, for a reason
    that concerns the account and not the recipient.
    """

    msisdn: int
    accepted: bool
    in_doubt: bool = False
    unsent: bool = False
    provider_message_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOutcome:
    """The parsed answer to a submission. A recipient without a result is in doubt."""

    results: tuple[RecipientResult, ...]
    job_id: str | None = None
    #: Why some results are `unsent`, such as credit that ran out in the middle of the request.
    stopped_by: ErrorKind | None = None


class PollTarget(NamedTuple):
    """A submitted message whose final state is still unknown."""

    msisdn: int
    provider_message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRef:
    """An accepted request to poll."""

    job_id: str | None
    targets: tuple[PollTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRequest:
    """One HTTP request that asks for the state of `targets`."""

    http: HttpRequest
    targets: tuple[PollTarget, ...]


class DeliveryReport(NamedTuple):
    """The provider's report (DLR) on one message.

    `state` is SUBMITTED (nothing final yet), DELIVERED, UNDELIVERED or EXPIRED; `raw` is the
    provider's own word. A `provisional` report counts only after the validity period.
    """

    msisdn: int
    state: MessageState
    raw: str
    provider_message_id: str | None = None
    provisional: bool = False
    error_code: str | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPush:
    """What a provider pushed to an account's URL: untrusted, and of a bounded size."""

    body: bytes = field(repr=False, default=b"")
    #: What followed the `?` of the URL.
    query: str = field(repr=False, default="")


class InboundMessage(NamedTuple):
    """A reply: a message from a person to a number of the account."""

    msisdn: int
    text: str
    #: The provider's id of it, if it gave one.
    provider_message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PushContent:
    """What a push says: reports about messages of ours, and replies.

    Each report has the provider's id of its message. `ignored` entries were neither.
    """

    reports: tuple[DeliveryReport, ...] = ()
    replies: tuple[InboundMessage, ...] = ()
    ignored: int = 0
    #: The names of the fields of an ignored entry, for the log; never their values.
    unknown_fields: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMessage:
    """An entry of the provider's list of accepted messages.

    `msisdn` is None if the number cannot be read; then only the id says whose message it is.
    """

    provider_message_id: str
    msisdn: int | None
    text: str | None
    sender: str | None
    state: MessageState
    raw: str
    created_at: datetime | None = None
    provisional: bool = False
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of the provider's list, newest first; `next_page` is None on the last one.

    `whole` is False if an entry was unreadable, so may be anybody's: then the list proves nobody
    absent.
    """

    entries: tuple[ListedMessage, ...]
    next_page: int | None
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is left of one package, in the provider's own unit."""

    package: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderId:
    """A sender at the provider: requests carry its `ref`, people use its `name`."""

    ref: str
    name: str
    kind: Kind | None
    approved: bool
    status: str
    purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A message template at the provider; requests carry its `ref`."""

    ref: str
    name: str
    text: str
    kind: Kind | None
    approved: bool
    status: str
    sender: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The senders and templates that a provider lists for an account."""

    senders: tuple[SenderId, ...] = ()
    templates: tuple[Template, ...] = ()
