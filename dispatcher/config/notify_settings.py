"""The keys of `[notify]`: who is notified of what, and how."""

from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from dispatcher import urls
from dispatcher.config.sections import Section

#: A key for HMAC-SHA256 should not be shorter than its result is strong (RFC 2104, section 3).
_SHORTEST_SECRET: Final = 16


class EventKind(StrEnum):
    """What somebody can be notified of. The values are public names."""

    #: Nothing of a campaign is pending, in flight or still asked about.
    CAMPAIGN_FINISHED = "campaign_finished"
    #: Recipients of a campaign are in doubt.
    CAMPAIGN_IN_DOUBT = "campaign_in_doubt"
    #: A campaign was paused, by a person or by a refusal.
    CAMPAIGN_PAUSED = "campaign_paused"
    #: An account was paused, by a person or by its provider's answer.
    ACCOUNT_PAUSED = "account_paused"
    #: An account's breaker opened: its provider fails.
    BREAKER_OPENED = "breaker_opened"
    #: A balance is below `balance_below`.
    BALANCE_LOW = "balance_low"
    #: Fewer messages of a campaign than `delivery_below` are delivered.
    DELIVERY_LOW = "delivery_low"
    #: Somebody has replied; at most once in ten minutes for each account.
    REPLIES_RECEIVED = "replies_received"
    #: `dispatcher notify test`.
    TEST = "test"


class NotifySettings(Section):
    """`[notify]`: a command, a webhook, or both, called once for each event."""

    #: The program and its arguments; the event is its standard input, as JSON.
    command: tuple[str, ...] = ()
    #: Where the event is posted to, as JSON.
    url: str | None = Field(default=None, repr=False)
    #: The key that signs what is posted.
    secret: SecretStr | None = None
    #: A file with that key, in place of `secret`. Relative to the configuration file.
    secret_file: Path | None = None
    #: Only these events; empty: all.
    events: tuple[EventKind, ...] = ()
    #: Seconds that a call may take.
    timeout_s: float = Field(default=10, ge=1, le=60)
    #: The balance, in the provider's unit, below which somebody is notified.
    balance_below: float | None = Field(default=None, gt=0)
    #: Seconds between two looks at the balances, where `balance_below` is set.
    balance_every_s: float = Field(default=900, ge=60, le=86_400)
    #: Per cent of the receipts of a campaign that must say delivered.
    delivery_below: float | None = Field(default=None, gt=0, le=100)

    @property
    def channels(self) -> tuple[str, ...]:
        """The ways that are configured: `command`, `webhook`."""
        return (*(["command"] if self.command else []), *(["webhook"] if self.url else []))

    def wants(self, kind: EventKind) -> bool:
        """Whether somebody is notified of events of this kind."""
        return bool(self.channels) and (not self.events or kind in self.events)

    def with_paths_in(self, folder: Path) -> Self:
        """The same, with paths in `folder` where they are relative."""
        return self.model_copy(
            update={"secret_file": self.secret_file and folder / self.secret_file}
        )

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("\0" in part for part in value) or (value and not value[0].strip()):
            raise ValueError('must be a program and its arguments, as in ["/usr/bin/page", "-q"]')
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            urls.check_webhook_url(value)
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"must have at least {_SHORTEST_SECRET} characters")
        return value

    @field_validator("secret_file")
    @classmethod
    def _check_secret_file(cls, value: Path | None) -> Path | None:
        if value is not None and not str(value).isprintable():
            raise ValueError("must not contain line breaks, tabs or other invisible characters")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("give `secret` or `secret_file`, not both")
        if self.url is not None and self.secret is None and self.secret_file is None:
            raise ValueError(
                "a `url` needs a `secret` or a `secret_file`, which signs what is sent"
            )
        return self
