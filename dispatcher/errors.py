"""Every error that is raised on purpose, and the closed list of kinds of provider errors."""

from enum import StrEnum
from typing import Final

from dispatcher.error_codes import ErrorCode


class DispatcherError(Exception):
    """Base of all expected errors; people see `message` (what happened, where) and `hint` (remedy).

    `exit_code` is the CLI's: 1 failed, 2 wrong usage, 3 refused by a check. `error_code` names the
    kind of mistake.
    """

    exit_code = 1
    error_code = ErrorCode.FAILED

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
    error_code = ErrorCode.USAGE


class WrongOptions(UsageProblem):
    """Options that do not go together, or one that is missing."""

    error_code = ErrorCode.OPTIONS


class WrongValue(UsageProblem):
    """A value that an option or an argument cannot have."""

    error_code = ErrorCode.VALUE


class NotFound(UsageProblem):
    """A name or a number that nothing has, or that several things have."""

    error_code = ErrorCode.NOT_FOUND


class WrongPath(UsageProblem):
    """A file or a folder that cannot be read or written."""

    error_code = ErrorCode.PATH


class ConfigError(UsageProblem):
    """The configuration is missing or malformed, or has an unknown key or a wrong value."""

    error_code = ErrorCode.CONFIG


class ConfigMissing(ConfigError):
    """There is no configuration where one is looked for."""

    error_code = ErrorCode.CONFIG_MISSING


class ConfigFileError(ConfigError):
    """The configuration file cannot be read, or is not valid TOML."""

    error_code = ErrorCode.CONFIG_FILE


class VariableMissing(ConfigError):
    """An environment variable that the configuration names is not set."""

    error_code = ErrorCode.CONFIG_VARIABLE


class SecretUnreadable(ConfigError):
    """A file or a command that the configuration names gives no secret."""

    error_code = ErrorCode.CONFIG_SECRET


class NoSuchAccount(ConfigError):
    """A name that no account of the configuration has."""

    error_code = ErrorCode.NOT_FOUND


class NotAvailableYet(UsageProblem):
    """A documented option or key that is not built yet: refused, never ignored."""

    error_code = ErrorCode.NOT_BUILT


class Refused(DispatcherError):
    """A check refused the command; nothing was sent or changed."""

    exit_code = 3
    error_code = ErrorCode.REFUSED


class FileRefused(Refused):
    """A recipient file that cannot be read as it is meant."""

    error_code = ErrorCode.FILE


class TextRefused(Refused):
    """A text that cannot be sent as it is."""

    error_code = ErrorCode.TEXT


class SenderRefused(Refused):
    """A sender or a template that is missing, unknown or not approved."""

    error_code = ErrorCode.SENDER


class BalanceRefused(Refused):
    """What is left at the provider does not cover the campaign."""

    error_code = ErrorCode.BALANCE


class TimeRefused(Refused):
    """Times or windows at which it cannot be sent."""

    error_code = ErrorCode.TIME


class StateRefused(Refused):
    """A campaign is in a state in which this cannot be done."""

    error_code = ErrorCode.STATE


class RepeatRefused(Refused):
    """The same was submitted before, or is being submitted now."""

    error_code = ErrorCode.REPEAT


class NothingToDo(Refused):
    """There is nobody to whom the command applies."""

    error_code = ErrorCode.NOTHING


class Unsupported(Refused):
    """The account's provider cannot do this."""

    error_code = ErrorCode.UNSUPPORTED


class PushRefused(Refused):
    """What a provider pushed to the receiver cannot be read."""


class StoreError(DispatcherError):
    """The store cannot be reached, is locked, full, or of another version."""

    error_code = ErrorCode.STORE


class StoreBusyError(StoreError):
    """Another transaction was in the way: nothing was changed, and a new try may succeed."""

    error_code = ErrorCode.STORE_BUSY


class StoreDataError(StoreError):
    """The store does not take a value: trying again would not help."""

    error_code = ErrorCode.STORE_DATA


class BrokerError(DispatcherError):
    """The Redis server cannot be started or reached."""

    error_code = ErrorCode.BROKER


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


_CODE_OF_KIND: Final = {
    ErrorKind.UNREACHABLE: ErrorCode.UNREACHABLE,
    ErrorKind.CREDENTIALS: ErrorCode.CREDENTIALS,
    ErrorKind.CREDIT: ErrorCode.CREDIT,
    ErrorKind.THROTTLED: ErrorCode.THROTTLED,
    ErrorKind.CONFIGURATION: ErrorCode.PROVIDER_SETUP,
    ErrorKind.CAMPAIGN: ErrorCode.CAMPAIGN_REFUSED,
    ErrorKind.RECIPIENTS: ErrorCode.RECIPIENT_REFUSED,
    ErrorKind.DOUBTFUL: ErrorCode.DOUBT,
}


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
        self.error_code = _CODE_OF_KIND[kind]
        self.code = code
        self.retry_after_s = retry_after_s
