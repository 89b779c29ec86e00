"""What every provider adapter is: capabilities as data, requests built, answers parsed.

Never any I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

from dispatcher.errors import Refused
from dispatcher.status import Kind
from dispatcher.types import (
    Balance,
    DeliveryReport,
    Directory,
    HttpRequest,
    HttpResponse,
    ListPage,
    PollRef,
    PollRequest,
    Recipient,
    Route,
    SenderId,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
    Template,
)
from dispatcher.windows.syntax import parse_windows


class StatusLookup(StrEnum):
    """How a provider can be asked what became of a message."""

    BY_JOB = "by job"
    BY_MESSAGE = "by message"
    #: By the pages of `list_request` alone, which hold all messages of the account.
    BY_LIST = "by list"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """A provider's limits and features as data: nothing asks for a provider's name."""

    #: Recipients in one request: documented by the provider, or our guess.
    max_recipients: int
    #: Whether `max_recipients` is documented, so that no configuration may raise it.
    max_recipients_documented: bool
    #: Whether each recipient of one request may have a text of its own.
    personal_texts: bool
    delivery_status: StatusLookup
    #: Parts of one text; None where the provider names no limit.
    max_parts: int | None = None
    balance: bool = False
    senders: bool = False
    templates: bool = False
    #: Whether it lists what it has accepted, so that a doubt can be settled.
    lists_accepted: bool = False
    #: Whether that list is whole: a message that is not in it was not accepted.
    absence_provable: bool = True
    #: Kinds of campaign that it routes by; the others are a label that we keep.
    routed_kinds: frozenset[Kind] = frozenset()
    unicode_flag: bool = False
    flash: bool = False
    #: Whether a provider's template can be filled with variables by the provider.
    template_variables: bool = False
    #: Whether it can be told when to send.
    provider_scheduling: bool = False
    #: Whether it keeps contact lists that a campaign can be sent to.
    contact_lists: bool = False
    #: Whether it states what a message costs.
    prices: bool = False
    #: Country calling codes that the documented prices hold for; empty where it does not say.
    home_calling_codes: frozenset[int] = frozenset()


def _check_header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces; is the variable set?")
    return secret


#: A key or token as an HTTP header can carry it.
HeaderSecret = Annotated[SecretStr, AfterValidator(_check_header_value)]


class ProviderSettings(BaseModel):
    """The keys of `[accounts.NAME]` that every provider shares; each adapter adds its own.

    Durations are seconds unless the name says otherwise; rates are per second.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    #: What the provider's document allows in one request; None where we only guess.
    documented_max_recipients: ClassVar[int | None] = None

    provider: str
    base_url: str
    sender: str | None = None
    template: str | None = None
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    messages_per_second: float | None = Field(default=None, gt=0)
    parts_per_second: float | None = Field(default=None, gt=0)
    requests_per_second: float | None = Field(default=None, gt=0)
    daily_limit: int | None = Field(default=None, ge=1)
    timezone: str = "UTC"
    windows: tuple[str, ...] = ()
    #: In place of `windows` for campaigns of that kind.
    kind_windows: dict[Kind, tuple[str, ...]] = Field(default_factory=dict)
    max_in_flight: int = Field(default=4, ge=1, le=1000)
    max_recipients: int | None = Field(default=None, ge=1)
    max_request_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_parts: int | None = Field(default=None, ge=1, le=255)
    max_attempts: int = Field(default=8, ge=1, le=100)
    #: Requests that fail in a row until the account is no longer used at full speed.
    breaker_after: int = Field(default=5, ge=1, le=1000)
    #: Between looks at an empty balance; growing to an hour.
    credit_check_s: float = Field(default=300, ge=1, le=86_400)
    #: How long the provider may fail before campaigns with a fallback leave by that.
    fallback_after_s: float = Field(default=300, ge=0, le=86_400)
    timeout_s: float = Field(default=60, gt=0, le=600)
    validity_hours: float = Field(default=72, gt=0, le=24 * 30)
    poll_first_s: float = Field(default=10, gt=0)
    poll_max_s: float = Field(default=300, gt=0)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError("plain http is allowed to this machine only; use https")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a URL such as https://sms.example.com/api")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must not hold a user, a password, a query or a fragment")
        return value.rstrip("/")

    def windows_for(self, kind: Kind) -> tuple[str, ...]:
        """When law or contract allow campaigns of this kind; empty: always."""
        return self.kind_windows.get(kind, self.windows)

    @field_validator("windows", "kind_windows")
    @classmethod
    def _check_windows(cls, value: Any) -> Any:
        for each in value.values() if isinstance(value, dict) else (value,):
            parse_windows(each)
        return value

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # a KeyError: no such zone
            raise ValueError("must be an IANA time zone such as Asia/Kolkata") from None
        return value

    @field_validator("max_recipients")
    @classmethod
    def _check_max_recipients(cls, value: int | None) -> int | None:
        limit = cls.documented_max_recipients
        if value is not None and limit is not None and value > limit:
            raise ValueError(
                f"`max_recipients` is {value}, but the provider's document allows {limit} at most"
            )
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRoute:
    """What a campaign asked for, before the provider's directory was looked at."""

    kind: Kind
    sender: str | None
    template: str | None


class Provider(ABC):
    """One account at one provider. Holds settings only, so threads may share it."""

    name: ClassVar[str]
    default_base_url: ClassVar[str | None]
    capabilities: ClassVar[Capabilities]
    settings_type: ClassVar[type[ProviderSettings]]

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings

    @property
    def secrets(self) -> tuple[str, ...]:
        """The account's keys and tokens: what no error, log or repr may show."""
        values = (getattr(self.settings, field) for field in type(self.settings).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @property
    def max_recipients(self) -> int:
        """Recipients that one request may carry, as configured; never above a documented limit."""
        return self.settings.max_recipients or self.capabilities.max_recipients

    @property
    def personal_batch_size(self) -> int:
        """Recipients of a batch whose texts need a request each.

        At most one second of the rate, and a third of the places in flight: while one batch is
        settled another is under way, and the one after it gets its start in time.
        """
        settings = self.settings
        rates = (settings.messages_per_second, settings.requests_per_second)
        a_second = min((int(rate) for rate in rates if rate is not None), default=100)
        return max(1, min(self.max_recipients, 100, a_second, settings.max_in_flight // 3))

    @property
    def can_be_probed(self) -> bool:
        """Whether a call that sends nothing can tell whether the provider answers."""
        able = self.capabilities
        return able.balance or able.senders or able.templates or able.lists_accepted

    def batch_size(self, *, texts_differ: bool) -> int:
        """Recipients of one batch, by whether their texts do."""
        needs_requests = texts_differ and not self.capabilities.personal_texts
        return self.personal_batch_size if needs_requests else self.max_recipients

    @property
    def max_parts(self) -> int | None:
        """Parts that one text may have; None where there is no limit."""
        return self.settings.max_parts or self.capabilities.max_parts

    @abstractmethod
    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """Upper bound of the bytes that one recipient adds to a body; batches are planned by it."""

    @property
    @abstractmethod
    def envelope_bytes(self) -> int:
        """Upper bound of the bytes of a request's body without recipients."""

    def split_to_fit(self, recipients: Sequence[Recipient]) -> Iterator[tuple[Recipient, ...]]:
        """Cut `recipients`, in order, into what single requests may carry by number and by bytes.

        One recipient that is over `max_request_bytes` by itself stands alone.
        """
        group: list[Recipient] = []
        size = self.envelope_bytes
        for recipient in recipients:
            added = self.recipient_bytes(recipient.msisdn, recipient.text)
            too_large = size + added > self.settings.max_request_bytes
            if group and (too_large or len(group) == self.max_recipients):
                yield tuple(group)
                group, size = [], self.envelope_bytes
            group.append(recipient)
            size += added
        if group:
            yield tuple(group)

    @abstractmethod
    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """The HTTP requests that submit `batch`; every recipient stands in exactly one of them."""

    @abstractmethod
    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the answer to `request`: results matched by number, never by position.

        Raises ProviderError where the request failed as a whole.
        """

    def poll_requests(self, ref: PollRef) -> Iterator[PollRequest]:
        """The HTTP requests that ask what became of `ref`'s targets; none without a status call."""
        del ref
        return iter(())

    def parse_poll(self, request: PollRequest, response: HttpResponse) -> list[DeliveryReport]:
        """Read the answer to a status request; reports for others than its targets are left out.

        Raises ProviderError where the request failed as a whole.
        """
        raise NotImplementedError

    def list_request(self, page: int) -> HttpRequest:
        """The request for a page of what was accepted (where `capabilities.lists_accepted`).

        Pages count from 0, whatever the provider calls its first; newest messages come first.
        """
        raise NotImplementedError

    def parse_list(self, page: int, response: HttpResponse) -> ListPage:
        """Read a page; inbound messages are left out. Raises ProviderError."""
        raise NotImplementedError

    def contact_list_request(self, batch: SubmitBatch, lists: Sequence[str]) -> HttpRequest:
        """The request that sends to lists kept at the provider (`capabilities.contact_lists`).

        `batch` has one recipient, whose text goes to everybody; its number is not used.
        """
        raise NotImplementedError

    def parse_contact_list(self, response: HttpResponse) -> str | None:
        """The provider's handle of an accepted contact-list campaign. Raises ProviderError."""
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
        """Turn the names a campaign asked for into what requests carry.

        Raises Refused, naming the remedy, where the account may not send that way.
        """
        del directory
        if requested.sender is None:
            raise Refused(
                "this account has no sender",
                "give --sender, or set `sender` under the account in the configuration",
            )
        return Route(sender=requested.sender, template=requested.template)
