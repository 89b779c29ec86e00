"""The keys of `[accounts.NAME]` that all providers share; each adapter adds its own."""

from typing import Annotated, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from dispatcher.status import Kind
from dispatcher.urls import check_base_url, check_proxy_url
from dispatcher.windows.country_zones import only_zone
from dispatcher.windows.syntax import parse_windows
from dispatcher.windows.zone_guesses import guess_zones
from dispatcher.windows.zone_names import parse_given_zone


def _check_header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces; is the variable set?")
    return secret


def _check_rate(value: float) -> float:
    if not _SLOWEST <= value <= _FASTEST:
        raise ValueError("must be at least one a day (0.0000116), and 1000000000 at most")
    return value


#: The value of `proxy` that means the environment's.
ENVIRONMENT = "environment"
#: A slower or faster rate is a typing mistake, and times computed from it would overflow.
_SLOWEST, _FASTEST = 1 / 86_400, 1e9
#: A rate per second.
Rate = Annotated[float, AfterValidator(_check_rate)]
#: A key or token as an HTTP header can carry it.
HeaderSecret = Annotated[SecretStr, AfterValidator(_check_header_value)]


class ProviderSettings(BaseModel):
    """The keys of every account.

    Durations are seconds unless the name says otherwise; rates are per second.
    """

    #: Built when used: most classes never are, or only as a part of another one.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=True,
    )

    #: Recipients that the provider's document allows in one request; None where we guess.
    documented_max_recipients: ClassVar[int | None] = None

    provider: str
    base_url: str
    #: The HTTP proxy of its requests: a URL, which may hold a password, or `environment`.
    proxy: str | None = Field(default=None, repr=False)
    sender: str | None = None
    template: str | None = None
    #: Replies that mean stop; None: words of many languages.
    stop_words: tuple[str, ...] | None = None
    #: The only numbers that it texts, for a staging account; None: any.
    allow_only: tuple[str, ...] | None = Field(default=None, repr=False)
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    messages_per_second: Rate | None = None
    parts_per_second: Rate | None = None
    requests_per_second: Rate | None = None
    daily_limit: int | None = Field(default=None, ge=1, le=10**12)
    #: Left out: the zone of `country`, if all of it has one; else UTC.
    timezone: str = "UTC"
    #: Above so many recipients their number must be typed; where it is set, scripts need --confirm.
    confirm_above_recipients: int | None = Field(default=None, ge=1, le=10**12)
    #: The same for what a campaign costs, by the prices of earlier messages.
    confirm_above_cost: float | None = Field(default=None, gt=0, le=1e12)
    windows: tuple[str, ...] = ()
    #: Replaces `windows` for campaigns of that kind.
    kind_windows: dict[Kind, tuple[str, ...]] = Field(default_factory=dict)
    #: Requests under way at once; None: found from the rate and the answer time.
    max_in_flight: int | None = Field(default=None, ge=1, le=1000)
    max_recipients: int | None = Field(default=None, ge=1, le=1_000_000)
    max_request_bytes: int = Field(default=1024 * 1024, ge=1024, le=1024**3)
    max_parts: int | None = Field(default=None, ge=1, le=255)
    max_attempts: int = Field(default=8, ge=1, le=100)
    #: Failed requests in a row that open the breaker.
    breaker_after: int = Field(default=5, ge=1, le=1000)
    #: Time between two looks at an empty balance; it grows to an hour.
    credit_check_s: float = Field(default=300, ge=1, le=86_400)
    #: How long the provider may fail before campaigns with a fallback move to it.
    fallback_after_s: float = Field(default=300, ge=0, le=86_400)
    timeout_s: float = Field(default=60, ge=0.01, le=600)
    validity_hours: float = Field(default=72, ge=0.001, le=24 * 30)
    poll_first_s: float = Field(default=10, ge=0.01, le=30 * 86_400)
    poll_max_s: float = Field(default=300, ge=0.01, le=30 * 86_400)

    #: Who named the proxy, for `doctor`; `load_settings` sets it.
    _proxy_source: str = PrivateAttr(default="`proxy`")

    @property
    def knows_timezone(self) -> bool:
        """Whether the zone was given, or is that of the account's country."""
        return "timezone" in self.model_fields_set

    @property
    def proxy_source(self) -> str:
        """Who named the proxy: the key, a variable, or `environment` if that names none."""
        return self._proxy_source

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | None) -> str | None:
        if value is not None and value != ENVIRONMENT:
            check_proxy_url(value)
        return value

    @model_validator(mode="after")
    def _check_proxy_use(self) -> Self:
        if self.proxy not in {None, ENVIRONMENT} and not self.base_url.startswith("https://"):
            raise ValueError("`proxy` needs a `base_url` with https: a proxy could read plain http")
        return self

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        check_base_url(value)
        return value.rstrip("/")

    def windows_for(self, kind: Kind) -> tuple[str, ...]:
        """When law or contract allow campaigns of this kind; empty: always."""
        return self.kind_windows.get(kind, self.windows)

    @field_validator("windows")
    @classmethod
    def _check_windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_windows(value)
        return value

    @field_validator("kind_windows")
    @classmethod
    def _check_kind_windows(cls, value: dict[Kind, tuple[str, ...]]) -> dict[Kind, tuple[str, ...]]:
        for windows in value.values():
            parse_windows(windows)
        return value

    @model_validator(mode="before")
    @classmethod
    def _take_countrys_timezone(cls, given: object) -> object:
        if not isinstance(given, dict) or "timezone" in given:
            return given
        country = given.get("country")
        zone = only_zone(country) if isinstance(country, str) else None
        return given if zone is None else {**given, "timezone": zone}

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):  # a KeyError: no such zone
            near = guess_zones(value)
            guess = "" if near is None else f"; did you mean {near}?"
            raise ValueError(f"must be an IANA time zone such as Asia/Kolkata{guess}") from None
        parse_given_zone(value)
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
