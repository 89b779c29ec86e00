"""Imports the recipients of a validated submission, and discards an import.

The file is read once. Rows are stored as they are read, in a campaign in state `importing`, which
sends nothing. Accepting it (`acceptance.py`) makes it `scheduled`; discarding removes it, and a
person may cancel one that was broken off.
"""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.control import cancel_campaign
from dispatcher.campaigns.view import find_campaign
from dispatcher.errors import Refused, RepeatRefused, StateRefused, TextRefused
from dispatcher.local.liveness import has_ended, own_process_name
from dispatcher.policy.routes import AccountRoute, routes_to_json
from dispatcher.recipients.preview import Preview
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.status import CampaignState
from dispatcher.store import imports
from dispatcher.store.audit import add_audit_row, current_person
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import MessageColumns, NewBatch, RunningImport
from dispatcher.store.messages import pack_cells
from dispatcher.store.rows import CampaignRow
from dispatcher.submission.acceptance import CompleteImport
from dispatcher.submission.file_reading import FileReading
from dispatcher.submission.import_writer import LEASE, ImportWriter
from dispatcher.submission.request import ValidatedSubmission
from dispatcher.submission.sameness import refuse_same_content, refuse_used_key
from dispatcher.submission.validation import check_rows
from dispatcher.text.segments import measure_text

#: Why a person's cancel ended it.
_BROKEN_OFF: Final = "its import was broken off"


def import_rows(
    store: Store,
    submission: ValidatedSubmission,
    progress: Callable[[int], None],
    *,
    may_fork: bool = False,
) -> CompleteImport:
    """Read the file into the store. Until `accept_import`, the campaign sends nothing.

    `progress` gets the number of the last row that was read, every few thousand rows. `may_fork`:
    a large file may be read by a process that is forked from this one.

    Discards an unfinished import of the same file or key first. Raises Refused while another
    process still writes one, and if the same content was accepted within 24 hours, unless the
    request says `again`.
    """
    job = _start_import(store, submission)
    reading = FileReading(submission, may_fork=may_fork)
    try:
        with ImportWriter(store, job) as writer, closing(reading.read_groups()) as groups:
            for group in groups:
                writer.start_group(group)
                progress(group.last_row)
            check_rows(submission, reading.preview)
            imported = _complete_import(submission, job, reading.preview, reading.digest)
            if not imported.again:
                with store.read() as conn:
                    refuse_same_content(conn, imported.content_keys)
            writer.finish_import(reading.preview)
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
        raise TextRefused(
            "a text to contact lists cannot have placeholders: their columns are not known here",
            "leave out {{…}}",
        )
    size = measure_text(submission.content.text)
    lists = submission.request.content.contact_lists
    everybody = MessageColumns(rows=[1], msisdns=[0], parts=[size.parts], variables=[None])
    batch = NewBatch(
        seq=0,
        encoding=size.encoding,
        zone=None,
        first_seq=0,
        messages=everybody,
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


def discard_import(store: Store, job: RunningImport) -> None:
    """Remove an import that was not accepted."""
    is_left = True
    while is_left:
        with store.write() as conn:
            is_left = not imports.discard_group(conn, job, store_now(conn) + LEASE)


def cancel_any_campaign(store: Store, reference: str) -> CampaignRow:
    """End a campaign as `cancel_campaign`, or discard it where it is a broken-off import.

    Raises Refused if it is over, and while its file is being read.
    """
    left = store.run_write(lambda conn: _fence_off_import(conn, reference))
    if left is None:
        return cancel_campaign(store, reference)
    # If this process is killed here, what is left of the import can be cancelled again.
    is_left = True
    while is_left:
        is_left = not store.run_write(lambda conn: _cancel_group(conn, left))
    with store.read() as conn:
        return find_campaign(conn, str(left.campaign_id))


def _fence_off_import(conn: Connection, reference: str) -> RunningImport | None:
    """Take over a broken-off import; None if the campaign was accepted, or is over."""
    imports.lock_starts(conn)
    campaign = find_campaign(conn, reference)
    if campaign.state != CampaignState.IMPORTING:
        return None
    now, lease_until = store_now(conn), campaign.import_lease_until
    if lease_until is not None and _is_written(campaign, now):
        raise StateRefused(
            f"campaign {campaign.id} is importing: its file is being read right now",
            "nothing of it is sent: Ctrl-C where its file is read ends it; if that was killed, "
            f"cancel it after {lease_until:%Y-%m-%d %H:%M:%S} UTC",
        )
    taken = imports.take_over_import(conn, campaign, now + LEASE)
    if taken is None:
        raise StateRefused(
            f"campaign {campaign.id} is being replaced by another submission of its file",
            "`dispatcher campaign list` shows what became of it",
        )
    return taken


def _cancel_group(conn: Connection, left: RunningImport) -> bool:
    """Delete a group of its rows; True once it is cancelled."""
    now = store_now(conn)
    if not imports.cancel_group(conn, left, now + LEASE, reason=_BROKEN_OFF, now=now):
        return False
    action = f"campaign {CampaignState.CANCELLED}"
    add_audit_row(
        conn,
        action,
        now=now,
        actor=current_person(),
        campaign_id=left.campaign_id,
        detail=_BROKEN_OFF,
    )
    return True


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
    if lease_until is not None and _is_written(left, now):
        raise RepeatRefused(
            f"the same file or key is being submitted right now, as campaign {left.id}",
            "wait until it ends; if it was killed, try again after "
            f"{lease_until:%Y-%m-%d %H:%M:%S} UTC",
        )
    return imports.take_over_import(conn, left, now + LEASE)


def _is_written(campaign: CampaignRow, now: datetime) -> bool:
    """Whether the process that reads its file may still be alive."""
    lease_until = campaign.import_lease_until
    return lease_until is not None and lease_until > now and not has_ended(campaign.import_writer)


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
        "recheck_at": submission.recheck_at(now),
        "created_at": now,
    }
    return imports.start_import(conn, values, now + LEASE)
