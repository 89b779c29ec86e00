"""Every error raised on purpose: what a person is told, and the closed list of provider errors."""

from enum import StrEnum


class DispatcherError(Exception):
    """Base of all expected errors: `message` names the place, `hint` the remedy; both are shown.

    `exit_code` follows the CLI's contract: 1 failed, 2 wrong usage, 3 refused by a check.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def in_one_line(self) -> str:
        """Both, as a log has them."""
        return self.message if self.hint is None else f"{self.message}: {self.hint}"


class UsageProblem(DispatcherError):
    """The command, its options, a file's path or the configuration cannot be used as given."""

    exit_code = 2


class ConfigError(UsageProblem):
    """The configuration is missing, malformed, or names something unknown."""


class NotAvailableYet(UsageProblem):
    """A documented option or key whose behaviour is not built yet: refused, never ignored."""


class Refused(DispatcherError):
    """A check said no before anything was sent; nothing was changed."""

    exit_code = 3


class StoreError(DispatcherError):
    """The store cannot be reached, is locked, full, or of another version."""


class BrokerError(DispatcherError):
    """The Redis server cannot be started or reached."""


class ErrorKind(StrEnum):
    """What a failed request means to us: the last table of the provider notes, one member a row."""

    #: No connection was made (DNS, refused, TLS): nothing was sent.
    UNREACHABLE = "unreachable"
    #: The key is wrong or not allowed: will not heal by itself.
    CREDENTIALS = "credentials"
    #: The balance does not cover the request.
    CREDIT = "credit"
    #: Asked to slow down (HTTP 429).
    THROTTLED = "throttled"
    #: The URL, a size or the account's set-up is wrong (404, 405, 413, a redirect).
    CONFIGURATION = "configuration"
    #: The sender, the template or the text of the whole request is refused.
    CAMPAIGN = "campaign"
    #: The provider refused these recipients by a known text: final for them.
    RECIPIENTS = "recipients"
    #: The request may have been accepted: never sent again by itself.
    DOUBTFUL = "doubtful"

    @property
    def may_have_been_accepted(self) -> bool:
        """Whether a recipient of the request may get the message all the same."""
        return self is ErrorKind.DOUBTFUL

    @property
    def retryable(self) -> bool:
        """Whether the same request may be made again later, without a person."""
        return self in {ErrorKind.UNREACHABLE, ErrorKind.THROTTLED, ErrorKind.CREDIT}

    @property
    def pauses_account(self) -> bool:
        """Whether every other request of the account would meet the same answer."""
        return self in {ErrorKind.CREDENTIALS, ErrorKind.CREDIT, ErrorKind.CONFIGURATION}

    @property
    def pauses_campaign(self) -> bool:
        """Whether every other request of the campaign would meet the same answer."""
        return self is ErrorKind.CAMPAIGN


class ProviderError(DispatcherError):
    """A request to a provider that failed as a whole.

    `message` is in the provider's own words where it gave any (cleaned and shortened), `code` its
    HTTP status or error code, `retry_after_s` what its `Retry-After` said, in seconds.
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
