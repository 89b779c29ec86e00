"""Submitting and reading campaigns from Python: `dispatcher.submit(…)` and `dispatcher.show(…)`.

They go the same way as the commands of these names, with the same checks, and print nothing.
"""

import csv
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypedDict, Unpack

import click

from dispatcher.campaigns.view import CampaignView, load_view
from dispatcher.cli.campaign.fallbacks import add_fallbacks
from dispatcher.cli.campaign.file_report import refuse_unsure_guesses
from dispatcher.cli.campaign.preflight import find_route, run_preflight
from dispatcher.cli.campaign.submit_checks import check_combinations, check_features
from dispatcher.cli.campaign.submit_options import SubmitOptions, build_request
from dispatcher.cli.campaign.submit_steps import import_and_ask
from dispatcher.cli.context import Session
from dispatcher.cli.provider_calls import select_account
from dispatcher.errors import FileRefused, WrongValue
from dispatcher.store.engine import Store
from dispatcher.store.migrate import create_tables_if_new
from dispatcher.submission import sameness, validation
from dispatcher.submission.withheld import WithheldRecipients

if TYPE_CHECKING:
    from dispatcher.submission.request import SubmissionRequest

#: A file, or rows: each a recipient, with its number and the values of the placeholders.
Recipients = str | Path | Iterable[Mapping[str, object]]


class SubmissionOptions(TypedDict, total=False):
    """What `submit` takes besides recipients, text and account, as `campaign submit` does.

    Times are aware. `rate` is in messages per second. `confirm` is the number of recipients, where
    the account has a ceiling.
    """

    template: str
    template_vars: Sequence[str]
    name: str
    sender: str
    kind: str
    flash: bool
    normalize: bool
    column: str
    mapping: Mapping[str, str]
    encoding: str
    delimiter: str
    sheet: str
    hidden_rows: str
    country: str
    limit: int
    keep_columns: bool
    start_at: datetime
    expire_at: datetime
    windows: Sequence[str]
    blackouts: Sequence[str]
    timezone: str
    rate: float
    priority: int
    fallbacks: Sequence[str]
    on_doubt: str
    idempotency_key: str
    again: bool
    allow_mismatch: bool
    confirm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecipient:
    """A row that gets no message, and why: its number in the file, or from 1 among the rows."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedCampaign:
    """A campaign that was accepted, now or before with the same idempotency key.

    `rejects` has the first 20 rows that get no message; it is empty for one accepted before.
    """

    id: int
    name: str
    state: str
    account: str
    counts: Mapping[str, int]
    rejects: tuple[RejectedRecipient, ...]
    was_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStatus:
    """A campaign now. `counts` are those of `campaign show --json`."""

    id: int
    name: str
    state: str
    account: str
    counts: Mapping[str, int]
    is_over: bool
    started_at: datetime | None
    finished_at: datetime | None
    waits_for: str | None


def submit(
    recipients: Recipients,
    *,
    account: str | None = None,
    text: str | None = None,
    config: str | Path | None = None,
    **options: Unpack[SubmissionOptions],
) -> SubmittedCampaign:
    """Submit a campaign; workers send it. With an `idempotency_key` it may be called again.

    `config` is the configuration file; None: where commands find it. Raises DispatcherError, whose
    `error_code` says what is wrong, and `Refused` where a check refuses: then nothing is sent. Its
    hints name the options of `dispatcher campaign submit`, as which the parameters are named.
    """
    given, session = _to_options(recipients, account, text, options), Session(_to_path(config))
    check_combinations(given)
    with (
        click.Context(click.Command("submit"), obj=session) as ctx,
        closing(Store(session.settings.store.url)) as store,
    ):
        name, provider = select_account(ctx, account)
        check_features(ctx, name, provider, given)
        with _with_rows(build_request(given, name, provider), recipients) as request:
            resolve = partial(find_route, request, provider, given)
            withheld = WithheldRecipients(store, name, provider.settings)
            with validation.validated_submission(
                request, provider, resolve, withheld=withheld
            ) as checked:
                submission = add_fallbacks(ctx, checked, given)
                preflight = run_preflight(store, submission, allow_mismatch=given.allow_mismatch)
                create_tables_if_new(store)
                if (known := sameness.find_submitted(store, submission)) is not None:
                    return _describe_submitted(load_view(store, str(known.id)), (), was_known=True)
                refuse_unsure_guesses(submission)
                done = import_and_ask(store, submission, given, preflight, progress=_say_nothing)
        view = load_view(store, str(done.job.campaign_id))
        header = 0 if isinstance(recipients, str | Path) else 1
        rejects = tuple(
            RejectedRecipient(row=one.row - header, reason=one.reason)
            for one in done.preview.rejects
        )
        if not done.preview.valid:
            why = f": {rejects[0].reason}" if rejects else ""
            raise FileRefused(f"campaign {view.campaign.id} is rejected: no row can be sent{why}")
        return _describe_submitted(view, rejects, was_known=False)


def show(campaign: int | str, *, config: str | Path | None = None) -> CampaignStatus:
    """A campaign by its id or name, as it is now. Raises DispatcherError."""
    with closing(Store(Session(_to_path(config)).settings.store.url)) as store:
        view = load_view(store, str(campaign))
    row = view.campaign
    return CampaignStatus(
        id=row.id,
        name=row.name,
        state=row.state,
        account=row.account,
        counts=dict(view.counts),
        is_over=view.is_over,
        started_at=row.started_at,
        finished_at=row.finished_at,
        waits_for=view.waits_for,
    )


def _describe_submitted(
    view: CampaignView, rejects: tuple[RejectedRecipient, ...], *, was_known: bool
) -> SubmittedCampaign:
    row = view.campaign
    return SubmittedCampaign(
        id=row.id,
        name=row.name,
        state=row.state,
        account=row.account,
        counts=dict(view.counts),
        rejects=rejects,
        was_known=was_known,
    )


def _to_path(config: str | Path | None) -> Path | None:
    return None if config is None else Path(config)


def _say_nothing(_row: int) -> None:
    """No progress is shown."""


@contextmanager
def _with_rows(
    request: "SubmissionRequest", recipients: Recipients
) -> Iterator["SubmissionRequest"]:
    """The request with the rows, written to a temporary file, in place of a file."""
    if isinstance(recipients, str | Path):
        yield request
        return
    with tempfile.TemporaryFile() as table:
        _write_mappings(table, recipients)
        table.seek(0)
        yield replace(request, source=table, source_name="rows", is_generated=True)


def _write_mappings(table: IO[bytes], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as a table, with the keys of the first as its header."""
    out = TextIOWrapper(table, encoding="utf-8", errors="surrogateescape", newline="")
    writer: csv.DictWriter[str] | None = None
    for number, row in enumerate(rows, start=1):
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        try:
            writer.writerow({key: "" if value is None else value for key, value in row.items()})
        except ValueError:
            raise WrongValue(
                f"row {number} has other keys than the first",
                "give all rows the same keys; a value may be None",
            ) from None
    out.flush()
    out.detach()
    if writer is None:
        raise FileRefused("there are no rows", "give at least one recipient")


def _to_options(
    recipients: Recipients, account: str | None, text: str | None, given: SubmissionOptions
) -> SubmitOptions:
    """The options of `campaign submit` that say the same."""
    start, end, rate = given.get("start_at"), given.get("expire_at"), given.get("rate")
    variables = given.get("template_vars")
    is_file = isinstance(recipients, str | Path)
    return SubmitOptions(
        file=str(recipients) if is_file else "rows",
        account=account,
        text=text,
        text_file=None,
        template=given.get("template"),
        template_vars=None if variables is None else ",".join(variables),
        flash=given.get("flash", False),
        contact_lists=(),
        schedule_at_provider=None,
        test_to=None,
        name=given.get("name"),
        sender=given.get("sender"),
        column=given.get("column"),
        mapping=[f"{field}={header}" for field, header in given.get("mapping", {}).items()],
        encoding=given.get("encoding"),
        delimiter=given.get("delimiter"),
        sheet=given.get("sheet"),
        hidden_rows=given.get("hidden_rows"),
        country=given.get("country"),
        kind=given.get("kind", "transactional"),
        normalize=given.get("normalize", False),
        limit=given.get("limit"),
        sample=None,
        confirm=given.get("confirm"),
        start_at=None if start is None else _to_moment("start_at", start),
        expire_at=None if end is None else _to_moment("expire_at", end),
        windows=given.get("windows", ()),
        blackouts=given.get("blackouts", ()),
        zone=given.get("timezone"),
        rate=None if rate is None else f"{rate}/s",
        priority=given.get("priority", 0),
        fallbacks=given.get("fallbacks", ()),
        no_keep_columns=not given.get("keep_columns", True),
        on_doubt=given.get("on_doubt", "hold"),
        idempotency_key=given.get("idempotency_key"),
        again=given.get("again", False),
        allow_mismatch=given.get("allow_mismatch", False),
        rejects=None,
        dry_run=False,
        yes=True,
        wait_for=None,
        as_json=True,
    )


def _to_moment(name: str, at: datetime) -> str:
    if at.tzinfo is None:
        raise WrongValue(f"{name} has no time zone", "give an aware datetime")
    return at.isoformat(timespec="seconds")
