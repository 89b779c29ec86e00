"""The options of `dispatcher campaign submit` as one value, and the request that they ask for."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dispatcher.errors import WrongOptions, WrongPath, WrongValue

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing
    from dispatcher.cli.moments import MomentReader
    from dispatcher.providers.base import Provider
    from dispatcher.providers.shared.settings import ProviderSettings
    from dispatcher.submission.request import SubmissionRequest

_STANDARD_INPUT = "-"
#: A line break as programmers type it, not the name of a Windows share.
_TYPED_LINE_BREAK = re.compile(r"(?<!\\)(?:\\r)?\\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """What was given on the command line; the command's options have the same names."""

    file: str | None
    account: str | None
    text: str | None
    text_file: Path | None
    template: str | None
    template_vars: str | None
    flash: bool
    contact_lists: Sequence[str]
    schedule_at_provider: str | None
    test_to: str | None
    name: str | None
    sender: str | None
    column: str | None
    mapping: Sequence[str]
    encoding: str | None
    delimiter: str | None
    sheet: str | None
    hidden_rows: str | None
    country: str | None
    kind: str
    normalize: bool
    limit: int | None
    sample: int | None
    confirm: int | None
    start_at: str | None
    expire_at: str | None
    windows: Sequence[str]
    blackouts: Sequence[str]
    zone: str | None
    rate: str | None
    priority: int
    fallbacks: Sequence[str]
    no_keep_columns: bool
    on_doubt: str
    idempotency_key: str | None
    again: bool
    allow_mismatch: bool
    rejects: Path | None
    dry_run: bool
    yes: bool
    wait_for: str | None
    as_json: bool

    @property
    def in_recipients_zone(self) -> bool:
        """Whether the windows are those of each recipient's zone."""
        return self.zone == "recipient"

    @property
    def is_answered(self) -> bool:
        """Whether the last question is answered already."""
        return self.yes or self.confirm is not None

    @property
    def reads_standard_input(self) -> bool:
        """Whether the recipients come from a pipe, so that answers cannot."""
        return self.file == _STANDARD_INPUT


def build_request(
    options: SubmitOptions, account: str, provider: "Provider"
) -> "SubmissionRequest":
    """The submission that the options ask for. Raises UsageProblem or Refused."""
    from dispatcher.cli.moments import moment_reader
    from dispatcher.numbers.msisdn import parse_country
    from dispatcher.recipients.detection.delimiters import parse_delimiter
    from dispatcher.recipients.detection.encodings import parse_encoding
    from dispatcher.status import Kind
    from dispatcher.submission.request import SubmissionRequest

    reader = moment_reader(provider.settings, _named_zone(options))
    content = _build_content(options, reader)
    timing = _build_timing(options, provider.settings, reader)
    if options.file is None and not options.contact_lists:
        raise WrongOptions(
            "the recipient FILE is missing", "name a file, or - to read standard input"
        )
    source, source_name, default_name = _find_source(options.file)
    name = options.name or default_name
    return SubmissionRequest(
        source=source,
        source_name=source_name,
        account=account,
        content=content,
        # A number alone would be taken for a campaign's id.
        name=f"campaign {name}" if name.isdigit() else name,
        kind=Kind(options.kind),
        sender=options.sender,
        template=options.template,
        column=options.column,
        mapping=_parse_mapping(options.mapping),
        encoding=None if options.encoding is None else parse_encoding(options.encoding),
        delimiter=None if options.delimiter is None else parse_delimiter(options.delimiter),
        sheet=options.sheet,
        sends_hidden=None if options.hidden_rows is None else options.hidden_rows == "send",
        country=None if options.country is None else parse_country(options.country),
        limit=options.limit,
        sample=options.sample,
        keep_columns=not options.no_keep_columns,
        idempotency_key=options.idempotency_key,
        again=options.again,
        on_doubt=options.on_doubt,
        timing=timing,
    )


def _named_zone(options: SubmitOptions) -> "tzinfo | None":
    """The zone that --timezone names; None: the account's."""
    from dispatcher.cli.parsing import parse_named_zone

    if options.zone is None or options.in_recipients_zone:
        return None
    return parse_named_zone(options.zone)


def _build_timing(
    options: SubmitOptions, settings: "ProviderSettings", reader: "MomentReader"
) -> "Timing":
    from datetime import UTC, datetime

    from dispatcher.campaigns.timing import Timing, check_start
    from dispatcher.cli.parsing import check_windows, parse_rate
    from dispatcher.status import Kind

    start, end = options.start_at, options.expire_at
    has_windows = bool(options.windows or settings.windows_for(Kind(options.kind)))
    timing = Timing(
        start_at=reader.read_start("--start-at", start, has_windows=has_windows) if start else None,
        expire_at=reader.read_time("--expire-at", end) if end else None,
        rate=parse_rate(options.rate) if options.rate else None,
        priority=options.priority,
        windows=options.windows,
        blackouts=options.blackouts,
        zone=reader.zone,
        in_recipients_zone=options.in_recipients_zone,
        notes=reader.notes,
    )
    check_windows(timing)
    check_start(timing.start_at, datetime.now(UTC), timing.zone)
    timing.check(datetime.now(UTC))
    return timing


def _build_content(options: SubmitOptions, reader: "MomentReader") -> "Content":
    from dispatcher.campaigns.content import Content

    given, columns = options.schedule_at_provider, options.template_vars or ""
    at = _whole_minute(reader.read_time("--schedule-at-provider", given)) if given else None
    return Content(
        text=_read_text(options.text, options.text_file, options.template),
        normalize=options.normalize,
        template_columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
        flash=options.flash,
        schedule_at=at,
        contact_lists=options.contact_lists,
    )


def _whole_minute(at: "datetime") -> "datetime":
    """Rounded up to a minute: providers read times to the minute, and none may send before `at`."""
    from datetime import timedelta

    whole = at.replace(second=0, microsecond=0)
    return whole if whole == at else whole + timedelta(minutes=1)


def _find_source(file: str | None) -> tuple[Path | BinaryIO, str, str]:
    """What to read, what to call it, and the campaign's name if none is given."""
    if file is None or file == _STANDARD_INPUT:
        if sys.stdin is None:
            raise WrongPath("the standard input is closed", "name a file")
        return sys.stdin.buffer, "standard input", "standard input"
    path = Path(file)
    return path, path.name, Path(path.name.removesuffix(".gz")).stem


def _read_text(text: str | None, path: Path | None, template: str | None) -> str | None:
    """The text; None if the provider's template says it."""
    if text is not None and path is not None:
        raise WrongOptions("the text is given twice", 'give --text "…" or --text-file FILE')
    if path is None:
        if text is None and template is None:
            hint = (
                'give --text "Hello {{name}}", --text-file FILE, or --template with a text of '
                "its own; {{name}} is filled from the column of that name"
            )
            raise WrongOptions("the text is missing", hint)
        if text is not None and _TYPED_LINE_BREAK.search(text):
            raise WrongValue(
                r"--text has \n, and everybody would get these two characters",
                "put the text with its line breaks into a file, and give --text-file",
            )
        return text
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise WrongPath(
            f"{path} cannot be read: {error.strerror}", "check the path and its rights"
        ) from None
    except UnicodeDecodeError:
        raise WrongPath(f"{path} is not UTF-8 text", "save it as UTF-8") from None


def _parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, header = pair.partition("=")
        if not equals or not field.strip() or not header.strip():
            raise WrongValue(
                f"--map {pair} does not name a field and a header", 'write --map name="Full Name"'
            )
        mapping[field.strip()] = header.strip()
    return mapping
