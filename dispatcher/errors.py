"""Every error that is raised on purpose, and the closed list of kinds of provider errors."""

from enum import StrEnum


class DispatcherError(Exception):
    """Base of all expected errors; people see `message` (what happened, where) and `hint` (remedy).

    `exit_code` is the CLI's: 1 failed, 2 wrong usage, 3 refused by a check.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def in_one_line(self) -> str:
        """Message and hint in one line, for logs."""
        return self.message if self.hint is None else f"{self.message}: {self.hint}"


class UsageProblem(DispatcherError):
    """A wrong command, option, path or configuration."""

    exit_code = 2


class ConfigError(UsageProblem):
    """The configuration is missing or malformed, or has an unknown key or a wrong value."""


class NotAvailableYet(UsageProblem):
    """A documented option or key that is not built yet: refused, never ignored."""


class Refused(DispatcherError):
    """A check refused the command; nothing was sent or changed."""

    exit_code = 3


class StoreError(DispatcherError):
    """The store cannot be reached, is locked, full, or of another version."""


class StoreBusyError(StoreError):
    """Another transaction was in the way: nothing was changed, and a new try may succeed."""


class StoreDataError(StoreError):
    """The store does not take a value: trying again would not help."""


class BrokerError(DispatcherError):
    """The Redis server cannot be started or reached."""


class ErrorKind(StrEnum):
    """What a failed request means: one member per row of the last table of the provider notes."""

    #: No connection was made (DNS, refused, TLS): nothing was sent.
    UNREACHABLE = "unreachable"
    #: The key is wrong or not allowed: a person must fix it.
    CREDENTIALS = "credentials"
    #: The balance does not cover the request.
    CREDIT = "credit"
    #: Too many requests (HTTP 429).
    THROTTLED = "throttled"
    #: The URL, a size or the account's setup is wrong (404, 405, 413, a redirect).
    CONFIGURATION = "configuration"
    #: The sender, the template or the text of the whole request is refused.
    CAMPAIGN = "campaign"
    #: The provider refused these recipients in known words: final for them.
    RECIPIENTS = "recipients"
    #: The request may have been accepted: never repeated automatically.
    DOUBTFUL = "doubtful"

    @property
    def may_have_been_accepted(self) -> bool:
        """Whether recipients of the request may get the message although it failed."""
        return self is ErrorKind.DOUBTFUL

    @property
    def retryable(self) -> bool:
        """Whether the same request may be repeated later without a person's decision."""
        return self in {ErrorKind.UNREACHABLE, ErrorKind.THROTTLED, ErrorKind.CREDIT}

    @property
    def pauses_account(self) -> bool:
        """Whether every other request of the account would fail alike."""
        return self in {ErrorKind.CREDENTIALS, ErrorKind.CREDIT, ErrorKind.CONFIGURATION}

    @property
    def pauses_campaign(self) -> bool:
        """Whether every other request of the campaign would fail alike."""
        return self is ErrorKind.CAMPAIGN


class ProviderError(DispatcherError):
    """A request to a provider that failed as a whole.

    `message` has the provider's own words if it gave any (cleaned and shortened), `code` its HTTP
    status or error code, `retry_after_s` the seconds of its `Retry-After`.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.code = code
        self.retry_after_s = retry_after_s
