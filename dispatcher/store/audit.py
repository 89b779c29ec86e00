"""The audit table: what people decided, and what the program did that people should know of."""

import os
import pwd
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select

from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.tables import AUDIT, CAMPAIGN

#: Actions that concern some recipients of their campaign only.
RETRY_ACTION: Final = "campaign retry"
DROP_ACTION: Final = "campaign drop"


class AuditRow(NamedTuple):
    """A row of `audit`, with the campaign's name."""

    id: int
    at: datetime
    actor: str
    action: str
    account: str | None
    campaign_id: int | None
    campaign: str | None
    detail: str | None


def current_person() -> str:
    """The system's user of this process and its host: `asha@mail1`.

    Under sudo who called it is named too: `root@mail1 (sudo by asha)`. The user is the process's
    own, whatever its environment says.
    """
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run under an id without a name
        user = f"uid {os.geteuid()}"
    person = f"{user}@{socket.gethostname() or 'localhost'}"
    caller = os.environ.get("SUDO_USER")
    return f"{person} (sudo by {caller})" if caller and caller != user else person


def add_audit_row(
    conn: Connection,
    action: str,
    *,
    now: datetime,
    actor: str = "dispatcher",
    account: str | None = None,
    campaign_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Add a row about an account or a campaign. `actor` is `dispatcher` or `current_person()`."""
    conn.execute(
        insert(AUDIT).values(
            at=now,
            actor=actor,
            action=action,
            account=account,
            campaign_id=campaign_id,
            detail=detail,
        )
    )


def list_audit_rows(
    conn: Connection,
    *,
    campaign_id: int | None = None,
    account: str | None = None,
    since: datetime | None = None,
    actions: Sequence[str] = (),
    limit: int,
) -> list[AuditRow]:
    """The newest `limit` rows, newest first; only those about a campaign, an account, a time.

    A row about a campaign counts for its account too.
    """
    query = (
        select(*columns_of(AUDIT, AuditRow, campaign=CAMPAIGN.c.name))
        .join_from(AUDIT, CAMPAIGN, CAMPAIGN.c.id == AUDIT.c.campaign_id, isouter=True)
        .order_by(AUDIT.c.id.desc())
        .limit(limit)
    )
    if campaign_id is not None:
        query = query.where(AUDIT.c.campaign_id == campaign_id)
    if account is not None:
        query = query.where((AUDIT.c.account == account) | (CAMPAIGN.c.account == account))
    if since is not None:
        query = query.where(AUDIT.c.at >= since)
    if actions:
        query = query.where(AUDIT.c.action.in_(actions))
    return fetch_all(conn, AuditRow, query)
