"""What every adapter is: a provider's capabilities as data, its requests, its answers.

Adapters do no I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

from pydantic import SecretStr

from dispatcher.errors import SenderRefused
from dispatcher.policy.batching import BatchSize, units_in_request
from dispatcher.policy.failure_reasons import Explanation
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import Kind
from dispatcher.types import (
    Balance,
    DeliveryReport,
    Directory,
    HttpRequest,
    HttpResponse,
    InboundPush,
    ListPage,
    PollRef,
    PollRequest,
    PushContent,
    Recipient,
    Route,
    SenderId,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
    Template,
)

#: A commit is worth hundreds of requests, and a worker holds a batch for a second at most.
_PERSONAL_BATCH = 500


class StatusLookup(StrEnum):
    """How to ask a provider what became of a message."""

    BY_JOB = "by job"
    BY_MESSAGE = "by message"
    #: Only by the pages of `list_request`, which hold all messages of the account.
    BY_LIST = "by list"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """A provider's limits and features as data: no code asks for a provider's name."""

    #: Recipients in one request: `documented_max_recipients` of the settings, or our guess.
    max_recipients: int
    #: Whether each recipient of one request may have a text of its own.
    personal_texts: bool
    delivery_status: StatusLookup
    #: Parts of one text; None where the provider names no limit.
    max_parts: int | None = None
    balance: bool = False
    senders: bool = False
    templates: bool = False
    #: Whether it lists what it has accepted, so that doubts can be settled.
    lists_accepted: bool = False
    #: Whether that list is complete: a message that is not in it was not accepted.
    absence_provable: bool = True
    flash: bool = False
    #: Whether the provider fills the variables of its templates.
    template_variables: bool = False
    #: Whether it accepts a time to send at.
    provider_scheduling: bool = False
    #: Whether it keeps contact lists that a campaign can be sent to.
    contact_lists: bool = False
    #: Whether it pushes receipts, and replies, to a URL of ours.
    pushes_receipts: bool = False
    pushes_replies: bool = False
    #: Whether it states what a message costs.
    prices: bool = False
    #: Whether one unit of its balance is one part, by its own table.
    credit_is_part: bool = False
    #: Country calling codes that the documented prices hold for; empty where it does not say.
    home_calling_codes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRoute:
    """The sender and template that a campaign asks for, by the names that a person gave."""

    kind: Kind
    sender: str | None
    template: str | None


@dataclass(frozen=True, slots=True)
class HiddenTexts:
    """Keys, and the texts of recipients: collected where an error is made, not for each answer."""

    secrets: Sequence[str] = field(repr=False)
    recipients: Sequence[Recipient] = field(repr=False)

    def __iter__(self) -> Iterator[str]:
        texts = {text for one in self.recipients for text in (one.text, *one.template_values)}
        yield from (*self.secrets, *texts)


class Provider(ABC):
    """One account at one provider. It holds settings only, so threads may share it."""

    name: ClassVar[str]
    default_base_url: ClassVar[str | None]
    capabilities: ClassVar[Capabilities]
    settings_type: ClassVar[type[ProviderSettings]]
    #: What words of this provider mean, in lower case: about single recipients, and in receipts.
    reasons: ClassVar[Mapping[str, Explanation]] = {}

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings

    @property
    def secrets(self) -> tuple[str, ...]:
        """The account's keys and tokens, which no error, log or repr may show."""
        return self._keys

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        # Looked for once: every answer is read with them, and settings have dozens of fields.
        values = dict(self.settings).values()
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    def hidden_texts(self, recipients: Sequence[Recipient]) -> Iterable[str]:
        """What errors about a request to `recipients` must not show: keys, and their texts."""
        return HiddenTexts(self.secrets, recipients)

    @property
    def max_recipients(self) -> int:
        """Recipients that one request may carry, as configured; never over a documented limit."""
        return self.settings.max_recipients or self.capabilities.max_recipients

    @property
    def can_be_probed(self) -> bool:
        """Whether the provider has a call that sends nothing, to find out whether it answers."""
        able = self.capabilities
        return able.balance or able.senders or able.templates or able.lists_accepted

    def batch_size(self, *, needs_requests: bool, rate: float | None) -> BatchSize:
        """The size of one batch; `needs_requests`: each different text needs a request of its own.

        One request carries ten seconds' worth of the account's rates and of `rate`, the campaign's
        own, unless the account sets `max_recipients`. A batch of many requests is worth at most
        one second of the account's rates.
        """
        settings = self.settings
        most, parts = self.max_recipients, None
        if needs_requests:
            a_second = (
                settings.messages_per_second, settings.parts_per_second,
                settings.requests_per_second,
            )  # fmt: skip
            whole = [int(per_second) for per_second in a_second if per_second is not None]
            most = max(1, min([_PERSONAL_BATCH, *whole]))
        if settings.max_recipients is None:
            most = min(most, units_in_request(settings.messages_per_second, rate) or most)
            parts = units_in_request(settings.parts_per_second)
        return BatchSize(most, parts)

    @property
    def max_parts(self) -> int | None:
        """Parts that one text may have; None without a limit."""
        return self.settings.max_parts or self.capabilities.max_parts

    @abstractmethod
    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """Upper bound of the bytes that one recipient adds to a body. Batches are planned by it."""

    def list_bytes(self, msisdns: Sequence[int], texts: Sequence[str]) -> Sequence[int]:
        """`recipient_bytes` of each."""
        return [*map(self.recipient_bytes, msisdns, texts)]

    def group_bytes(self, recipients: Sequence[Recipient]) -> int:
        """The sum of their `recipient_bytes`."""
        return sum(self.recipient_bytes(one.msisdn, one.text) for one in recipients)

    @property
    @abstractmethod
    def envelope_bytes(self) -> int:
        """Upper bound of the bytes of a request's body without recipients."""

    def split_to_fit(self, recipients: Sequence[Recipient]) -> Iterator[tuple[Recipient, ...]]:
        """Cut `recipients`, in order, into groups that fit one request, by number and by bytes.

        A recipient that is larger than `max_request_bytes` is a group of its own.
        """
        most = self.settings.max_request_bytes
        if (
            0 < len(recipients) <= self.max_recipients
            and self.envelope_bytes + self.group_bytes(recipients) <= most
        ):
            yield tuple(recipients)
            return
        group: list[Recipient] = []
        size = self.envelope_bytes
        for recipient in recipients:
            added = self.recipient_bytes(recipient.msisdn, recipient.text)
            too_large = size + added > most
            if group and (too_large or len(group) == self.max_recipients):
                yield tuple(group)
                group, size = [], self.envelope_bytes
            group.append(recipient)
            size += added
        if group:
            yield tuple(group)

    @abstractmethod
    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """The POST requests that submit `batch`; every recipient is in exactly one of them.

        Raises Refused where the provider cannot send the batch.
        """

    @abstractmethod
    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the answer to `request`; results are matched by number, never by position.

        Raises ProviderError where the request failed as a whole.
        """

    def poll_requests(self, ref: PollRef) -> Iterator[PollRequest]:
        """The requests that ask what became of the targets of `ref`; none without a status call."""
        del ref
        return iter(())

    def parse_poll(self, request: PollRequest, response: HttpResponse) -> list[DeliveryReport]:
        """Read the answer to a status request; reports about other messages are left out.

        Raises ProviderError where the request failed as a whole.
        """
        raise NotImplementedError

    def list_request(self, page: int) -> HttpRequest:
        """The request for a page of accepted messages (where `capabilities.lists_accepted`).

        Our pages count from 0, whatever the provider's do; the newest messages come first.
        """
        raise NotImplementedError

    def parse_list(self, page: int, response: HttpResponse) -> ListPage:
        """Read a page; inbound messages are left out. Raises ProviderError."""
        raise NotImplementedError

    def parse_push(self, push: InboundPush) -> PushContent:
        """Read what it pushed (where `capabilities.pushes_…`). Raises PushRefused."""
        raise NotImplementedError

    def contact_list_request(self, batch: SubmitBatch, lists: Sequence[str]) -> HttpRequest:
        """The POST request that sends to lists kept at the provider.

        Only where `capabilities.contact_lists`. `batch` has one recipient, whose text goes to
        everybody on the lists; the recipient's number is not used.
        """
        raise NotImplementedError

    def parse_contact_list(self, response: HttpResponse) -> str | None:
        """The provider's id of an accepted contact-list campaign, if any. Raises ProviderError."""
        raise NotImplementedError

    def balance_request(self) -> HttpRequest:
        """The request for the account's balance (where `capabilities.balance`)."""
        raise NotImplementedError

    def parse_balance(self, response: HttpResponse) -> list[Balance]:
        """Read the balance. Raises ProviderError."""
        raise NotImplementedError

    def senders_request(self) -> HttpRequest:
        """The request for the account's senders (where `capabilities.senders`)."""
        raise NotImplementedError

    def parse_senders(self, response: HttpResponse) -> list[SenderId]:
        """Read the senders. Raises ProviderError."""
        raise NotImplementedError

    def templates_request(self) -> HttpRequest:
        """The request for the account's templates (where `capabilities.templates`)."""
        raise NotImplementedError

    def parse_templates(self, response: HttpResponse) -> list[Template]:
        """Read the templates. Raises ProviderError."""
        raise NotImplementedError

    def resolve_route(self, requested: RequestedRoute, directory: Directory) -> Route:
        """Turn the names that a campaign asks for into what requests carry.

        Raises Refused, which names the remedy, where the account cannot send that way.
        """
        del directory
        if requested.sender is None:
            raise SenderRefused(
                "this account has no sender",
                "give --sender, or set `sender` under the account in the configuration",
            )
        return Route(sender=requested.sender, template=requested.template)
