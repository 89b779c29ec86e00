"""Submits a campaign: checks the request, imports the file, then accepts or discards it.

The file is read once. Rows are stored as they are read, in a campaign in state `importing`, which
sends nothing. Accepting it makes it `scheduled`; discarding removes it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.content import resolve_content, try_request
from dispatcher.campaigns.gate import check_windows_open
from dispatcher.errors import Refused, StoreError
from dispatcher.local.liveness import has_ended, own_process_name
from dispatcher.policy.routes import AccountRoute, routes_to_json
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.recipients.preview import Preview, RejectedRow
from dispatcher.recipients.reader import open_recipients
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.status import CampaignState
from dispatcher.store import imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import NewBatch, NewMessage, RunningImport
from dispatcher.store.messages import pack_cells
from dispatcher.submission.fallback_check import naming_account
from dispatcher.submission.import_writer import LEASE, ImportWriter
from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
from dispatcher.submission.sameness import refuse_same_content, refuse_used_key
from dispatcher.text.lookalikes import refuse_lookalikes
from dispatcher.text.segments import measure_text
from dispatcher.types import Route

#: How long a lost answer to the accepting commit is looked up.
_LOOK_FOR_S = 15.0
_PAUSE_S = 0.5


class AcceptanceUnknown(StoreError):
    """The store went away while a campaign was accepted: it may have been accepted or not."""

    def __init__(self, campaign_id: int, cause: StoreError) -> None:
        super().__init__(
            f"it is not known whether campaign {campaign_id} was accepted: {cause.message}",
            f"when the store is back, `dispatcher campaign show {campaign_id}` shows it; if it is "
            "still importing, submit again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteImport:
    """A complete import that is not accepted yet.

    `content_keys`: its content, and the same as earlier versions kept it.
    """

    job: RunningImport
    preview: Preview
    content_keys: tuple[str, str]
    again: bool


@contextmanager
def validated_submission(
    request: SubmissionRequest, provider: Provider, resolve: Callable[[RequestedRoute], Route]
) -> Iterator[ValidatedSubmission]:
    """Check everything that needs no row: text, placeholders, file, sender, template, windows.

    Raises Refused or UsageProblem; `resolve` may also raise ProviderError.
    """
    requested = RequestedRoute(
        kind=request.kind,
        sender=request.sender or provider.settings.sender,
        template=request.template or provider.settings.template,
    )
    content = None
    if request.content.text is not None:  # first report what needs no call to the provider
        content = resolve_content(request.content, provider, Route(sender=""))
    if not request.timing.in_recipients_zone:
        check_windows_open(provider.settings, request.constraints, (None,), datetime.now(UTC))
    with open_recipients(
        request.source,
        column=request.column,
        mapping=request.mapping,
        encoding="utf-8" if request.is_generated else request.encoding,
        delimiter="," if request.is_generated else request.delimiter,
        is_literal=request.is_generated,
        country=request.country or provider.settings.country,
    ) as file:
        bound = content.template.bind_columns(file.headers) if content is not None else None
        route = resolve(requested)
        if content is None or bound is None:
            content = resolve_content(request.content, provider, route)
            bound = content.template.bind_columns(file.headers)
        refuse_lookalikes(content.template, file.headers)
        try_request(request.content, content, provider, route, request.kind)
        yield ValidatedSubmission(
            request=request,
            provider=provider,
            route=route,
            content=content,
            file=file,
            template=bound,
        )


def dry_run(
    submission: ValidatedSubmission,
    progress: Callable[[int], None],
    rejected: Callable[[RejectedRow], None] = lambda _row: None,
) -> Preview:
    """Read the whole file and store nothing. Raises Refused like `import_rows`."""
    validator = submission.row_validator()
    for item in validator:
        progress(item.row)
        if isinstance(item, RejectedRow):
            rejected(item)
    _check_rows(submission, validator.preview)
    return validator.preview


def _check_rows(submission: ValidatedSubmission, preview: Preview) -> None:
    """Raises Refused if the file has no rows, or the windows open in no recipient's zone."""
    zones = sorted({*preview.zones, *preview.closed_zones})
    if zones:
        constraints, now = submission.request.constraints, datetime.now(UTC)
        check_windows_open(submission.provider.settings, constraints, zones, now)
        for name, settings in submission.fallback_settings.items():
            with naming_account(name):
                check_windows_open(settings, constraints, zones, now)
    if not preview.rows:
        raise Refused(
            f"{submission.request.source_name} has a header and no rows below it",
            "it needs a row for each recipient",
        )


def import_rows(
    store: Store, submission: ValidatedSubmission, progress: Callable[[int], None]
) -> CompleteImport:
    """Read the file into the store. Until `accept_import`, the campaign sends nothing.

    Discards an unfinished import of the same file or key first. Raises Refused while another
    process still writes one, and if the same content was accepted within 24 hours, unless the
    request says `again`.
    """
    job = _start_import(store, submission)
    writer = ImportWriter(store, job, submission)
    validator = submission.row_validator()
    try:
        for item in validator:
            writer.add_row(item)
            progress(item.row)
        _check_rows(submission, validator.preview)
        imported = _complete_import(submission, job, validator.preview, validator.content_digest())
        if not imported.again:
            with store.read() as conn:
                refuse_same_content(conn, imported.content_keys)
        writer.finish_import(validator.preview)
    except BaseException:
        discard_import(store, job)
        raise
    return imported


def _complete_import(
    submission: ValidatedSubmission, job: RunningImport, preview: Preview, digest: str
) -> CompleteImport:
    return CompleteImport(
        job=job,
        preview=preview,
        content_keys=(submission.content_key(digest), submission.source_key),
        again=submission.request.again,
    )


def import_lists(store: Store, submission: ValidatedSubmission) -> CompleteImport:
    """Make a campaign to contact lists that the provider keeps: one message, with number 0.

    Raises Refused for a text with placeholders.
    """
    if submission.content.template.field_names:
        raise Refused(
            "a text to contact lists cannot have placeholders: their columns are not known here",
            "leave out {{…}}",
        )
    size = measure_text(submission.content.text)
    lists = submission.request.content.contact_lists
    everybody = NewMessage(seq=0, row=1, msisdn=0, parts=size.parts, variables=None)
    batch = NewBatch(
        seq=0,
        encoding=size.encoding,
        zone=None,
        first_seq=0,
        messages=[everybody],
        requests=1,
        cells=pack_cells([["", ", ".join(lists)]]),
    )
    job = _start_import(store, submission)
    preview = Preview(rows=1, valid=1, parts=size.parts)
    with store.write() as conn:
        lease_until = store_now(conn) + LEASE
        imports.write_group(conn, job, [batch], [], lease_until=lease_until)
        imports.finish_import(conn, job, {"rows": 1, "total": 1, "parts": size.parts}, lease_until)
    return _complete_import(submission, job, preview, "\n".join(sorted(lists)))


def accept_import(
    store: Store, imported: CompleteImport, *, look_for_s: float = _LOOK_FOR_S
) -> CampaignState:
    """Make the campaign `scheduled`, or `rejected` if no row of it can be sent.

    When PostgreSQL's answer to the commit is lost, it is looked up for up to `look_for_s` seconds.
    Raises AcceptanceUnknown if the store does not come back in that time, and Refused if the same
    content was accepted since it was imported: then it can be discarded.
    """
    state = CampaignState.SCHEDULED if imported.preview.valid else CampaignState.REJECTED
    try:
        _accept_once(store, imported, state)
    except StoreError:
        if store.is_sqlite:
            raise
        _accept_again(store, imported, state, time.monotonic() + look_for_s)
    return state


def _accept_once(store: Store, imported: CompleteImport, state: CampaignState) -> None:
    with store.write() as conn:
        imports.lock_starts(conn)
        if not imported.again:
            refuse_same_content(conn, imported.content_keys)
        content_key, _ = imported.content_keys
        now = store_now(conn)
        imports.mark_import_accepted(conn, imported.job, state, now, content_key=content_key)


def _accept_again(
    store: Store, imported: CompleteImport, state: CampaignState, give_up_at: float
) -> None:
    """Accept an import whose first try may have succeeded."""
    while True:
        try:
            _accept_once(store, imported, state)
        except Refused:
            with store.read() as conn:
                if imports.was_accepted(conn, imported.job):
                    return
            raise
        except StoreError as error:
            if time.monotonic() > give_up_at:
                raise AcceptanceUnknown(imported.job.campaign_id, error) from error
            time.sleep(_PAUSE_S)
        else:
            return


def discard_import(store: Store, job: RunningImport) -> None:
    """Remove an import that was not accepted."""
    is_left = True
    while is_left:
        with store.write() as conn:
            is_left = not imports.discard_group(conn, job, store_now(conn) + LEASE)


def _start_import(store: Store, submission: ValidatedSubmission) -> RunningImport:
    witness = RollbackGuard(store)
    with store.write() as conn:
        held = witness.check_and_hold(conn)
    if held is not None:
        raise Refused(held, "campaigns submitted after the backup are missing here too")
    # Every store that has a campaign must have its high-water mark.
    witness.save_marks()
    while True:
        with store.write() as conn:
            left = _fence_off_unfinished(conn, submission)
            if left is None:
                return _insert_import(conn, submission)
        discard_import(store, left)


def _fence_off_unfinished(
    conn: Connection, submission: ValidatedSubmission
) -> RunningImport | None:
    """Take over what a killed submission of the same content or key left; None if nothing."""
    left = imports.find_unfinished(conn, submission.source_key, submission.request.idempotency_key)
    if left is None:
        return None
    now = store_now(conn)
    lease_until = left.import_lease_until
    if lease_until is not None and lease_until > now and not has_ended(left.import_writer):
        raise Refused(
            f"the same file or key is being submitted right now, as campaign {left.id}",
            f"wait until it ends; if it was killed, try again after {lease_until:%H:%M} UTC",
        )
    return imports.take_over_import(conn, left, now + LEASE)


def _insert_import(conn: Connection, submission: ValidatedSubmission) -> RunningImport:
    request = submission.request
    refuse_used_key(conn, request.idempotency_key)
    now = store_now(conn)
    values = {
        "name": request.name,
        "account": request.account,
        "kind": request.kind,
        "sender": submission.route.sender,
        "template": submission.route.template,
        "sender_ref": submission.route.sender_ref,
        "template_ref": submission.route.template_ref,
        "routes": routes_to_json(
            [AccountRoute(request.account, submission.route), *submission.fallbacks]
        ),
        **request.content.stored_columns(submission.content),
        "columns": orjson.dumps(
            submission.file.file_headers if request.keep_columns else ()
        ).decode(),
        "source_name": request.source_name,
        "content_key": submission.source_key,
        "idempotency_key": request.idempotency_key,
        "on_doubt": request.on_doubt,
        "import_writer": own_process_name(),
        **request.timing.stored_columns(),
        "created_at": now,
    }
    return imports.start_import(conn, values, now + LEASE)
