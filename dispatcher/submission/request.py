"""What a person asks to be sent, and the same once its checks have passed."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import BinaryIO

import orjson

from dispatcher.campaigns.constraints import CampaignConstraints
from dispatcher.campaigns.content import Content, ResolvedContent
from dispatcher.campaigns.gate import campaign_schedule, windows_open
from dispatcher.campaigns.timing import Timing
from dispatcher.policy.batching import BatchSize
from dispatcher.policy.routes import AccountRoute
from dispatcher.providers.base import Provider
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.recipients.plain_rows import NoNumbers, WithheldNumbers
from dispatcher.recipients.reader import RecipientFile
from dispatcher.recipients.text_sample import TextSample
from dispatcher.recipients.validation import RowValidator
from dispatcher.status import Kind
from dispatcher.text.template import BoundTemplate, fold_name
from dispatcher.types import Route
from dispatcher.windows.recipient_zones import ZoneChoice, recipient_zone
from dispatcher.windows.zone_names import FixedOffsetError, ZoneError

#: A campaign that is sent later than this is checked again before its first batch, by so much.
SOON = timedelta(hours=1)
_RECHECKED_BEFORE = timedelta(minutes=5)
#: Headers of the column with the recipient's time zone; `--map timezone=…` names another.
_ZONE_HEADERS = frozenset({"timezone", "time zone", "time_zone", "tz"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRequest:
    """What a person asks for: one recipient file, one text, one account."""

    source: Path | BinaryIO
    source_name: str
    account: str
    name: str
    content: Content
    kind: Kind = Kind.TRANSACTIONAL
    sender: str | None = None
    template: str | None = None
    column: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    #: The sheet of a workbook, by its name or number.
    sheet: str | None = None
    #: Whether rows that the workbook hides get a message; None: nobody said.
    sends_hidden: bool | None = None
    #: The program wrote the source, in UTF-8 with commas: its cells are taken as they are.
    is_generated: bool = False
    #: Where numbers without a country code belong (ISO 3166); None: as the account says.
    country: str | None = None
    limit: int | None = None
    #: How many texts of random recipients a person wants to see.
    sample: int | None = None
    keep_columns: bool = True
    idempotency_key: str | None = None
    again: bool = False
    #: `hold`, `resend` or `drop`: what to do with doubts that the provider's list cannot settle.
    on_doubt: str = "hold"
    timing: Timing = field(default_factory=Timing)

    @property
    def constraints(self) -> CampaignConstraints:
        """What decides when the campaign may be sent."""
        timing = self.timing
        return CampaignConstraints(
            kind=self.kind,
            schedule=timing.schedule,
            start_at=timing.start_at,
            expire_at=timing.expire_at,
            schedule_at=self.content.schedule_at,
            rate=timing.rate,
            priority=timing.priority,
            one_off=timing.one_off,
        )


def first_opening(request: SubmissionRequest, provider: Provider, now: datetime) -> datetime:
    """The earliest time at which a request of the campaign may leave."""
    since = max(now, request.timing.start_at or now)
    if request.timing.in_recipients_zone:
        return since
    allowed = campaign_schedule(provider.settings, request.constraints, None)
    return allowed.next_open(since) or since


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedSubmission:
    """A request that passed every check that needs no row of the file."""

    request: SubmissionRequest
    provider: Provider
    route: Route
    content: ResolvedContent
    file: RecipientFile
    template: BoundTemplate
    #: Accounts to use, in this order, while the campaign's own is unavailable.
    fallbacks: Sequence[AccountRoute] = ()
    #: Settings of the fallback accounts, by name.
    fallback_settings: Mapping[str, ProviderSettings] = field(default_factory=dict)
    #: Who gets no message although the number is valid.
    withheld: WithheldNumbers = field(default_factory=NoNumbers)

    @property
    def country(self) -> str | None:
        """Where numbers without a country code belong."""
        return self.request.country or self.provider.settings.country

    def content_key(self, digest: str) -> str:
        """What makes two submissions the same: recipients, texts, account and route.

        `digest` is of the recipients and their texts.
        """
        text = self.content.text.replace("\r\n", "\n").rstrip()
        parts = [
            digest, text, self.request.account, self.request.kind, self.route.sender,
            self.route.template, self.content.template_columns,
            self.request.content.flash,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    def read_content_key(self) -> str:
        """The content key, for which the whole file is read."""
        if self.request.content.contact_lists:
            return self.content_key("\n".join(sorted(self.request.content.contact_lists)))
        validator = self.row_validator()
        for _ in validator.read_blocks():
            pass
        return self.content_key(validator.content_digest())

    @property
    def source_key(self) -> str:
        """What makes two unfinished imports the same: the file's bytes, text, account and route.

        Campaigns of earlier versions have it as their content key.
        """
        parts = [
            self.file.sha256, self.content.text, self.request.account, self.request.kind,
            self.route.sender, self.route.template, self.file.phone_column, self.request.limit,
            sorted(self.request.mapping.items()), self.content.template_columns,
            self.request.content.flash,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    @property
    def takes_requests(self) -> bool:
        """Whether each different text needs a request of its own."""
        is_templated = self.content.template_columns is not None
        can = self.provider.capabilities.personal_texts
        return is_templated or (bool(self.template.columns) and not can)

    @property
    def batch_size(self) -> BatchSize:
        """How many recipients its batches have at its own account."""
        rate = self.request.timing.rate
        return self.provider.batch_size(needs_requests=self.takes_requests, rate=rate)

    @property
    def room_bytes(self) -> int:
        """How many bytes of one request are left for recipients."""
        return self.provider.settings.max_request_bytes - self.provider.envelope_bytes

    @property
    def zone_column(self) -> str | None:
        """The header of the column with each recipient's time zone, if the file has one."""
        return next((name for name in self.file.headers if fold_name(name) in _ZONE_HEADERS), None)

    def is_sent_soon(self, now: datetime) -> bool:
        """Whether its first request may leave within an hour: then it needs its provider now."""
        return first_opening(self.request, self.provider, now) - now <= SOON

    def recheck_at(self, now: datetime) -> datetime | None:
        """When it is checked again at the provider; None where it was checked just now."""
        able = self.provider.capabilities
        can_be_checked = able.senders or able.templates or able.credit_is_part
        if not can_be_checked or self.is_sent_soon(now):
            return None
        return first_opening(self.request, self.provider, now) - _RECHECKED_BEFORE

    def row_validator(self) -> RowValidator:
        """A validator that reads the file's rows against this text."""
        provider = self.provider
        return RowValidator(
            self.file,
            self.template,
            self.country,
            max_parts=provider.max_parts,
            sizes_of=provider.list_bytes,
            room_bytes=self.room_bytes,
            normalizes=self.request.content.normalize,
            limit=self.request.limit,
            sample=TextSample(size, random.Random()) if (size := self.request.sample) else None,
            zone_of=self._zone_of() if self.request.timing.in_recipients_zone else None,
            zone_opens=self._zone_opens(),
            withheld=self.withheld,
        )

    def _zone_opens(self) -> Callable[[str], bool]:
        """A function: do the windows ever open in a zone? The expiry does not count here."""
        settings, constraints, now = (
            self.provider.settings,
            self.request.constraints,
            datetime.now(UTC),
        )

        @cache
        def ever(zone: str) -> bool:
            return windows_open(settings, constraints, zone, now)

        return ever

    def _zone_of(self) -> Callable[[Sequence[str], int], ZoneChoice]:
        """A function that finds a row's zone: from its zone column, else from its number."""
        name, default = self.zone_column, self.request.timing.zone
        column = None if name is None else self.file.headers.index(name)

        def choose(cells: Sequence[str], msisdn: int) -> ZoneChoice:
            explicit = cells[column] if column is not None and column < len(cells) else None
            try:
                return recipient_zone(explicit, msisdn, default)
            except FixedOffsetError as error:
                raise ZoneError(f"column {name!r}: {error}") from None
            except ZoneError:
                # The cell is left out: rows are counted by reason, so reasons must be few.
                raise ZoneError(
                    f"column {name!r} has no valid time zone; write Asia/Kolkata or +05:30"
                ) from None

        return choose
