"""Accepts an import that is complete: from then on the campaign is sent."""

import time
from dataclasses import dataclass

from dispatcher.error_codes import ErrorCode
from dispatcher.errors import Refused, StoreError
from dispatcher.recipients.preview import Preview
from dispatcher.status import CampaignState
from dispatcher.store import imports
from dispatcher.store.audit import add_audit_row, current_person
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import RunningImport
from dispatcher.submission.sameness import refuse_same_content

#: How long to find out whether a commit without an answer was accepted.
_LOOK_FOR_S = 15.0
_PAUSE_S = 0.5


class AcceptanceUnknown(StoreError):
    """The store went away while a campaign was accepted: it may have been accepted or not."""

    error_code = ErrorCode.UNKNOWN_END

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
        add_audit_row(
            conn,
            "campaign submit",
            now=now,
            actor=current_person(),
            campaign_id=imported.job.campaign_id,
            detail=f"recipients: {imported.preview.valid}",
        )


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
