"""The audit table: what people decided, and what the program did that people should know of."""

from datetime import datetime

from sqlalchemy import Connection, insert

from dispatcher.store.tables import AUDIT


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
    """Add a row about an account or a campaign. `actor` is `dispatcher` or `operator`."""
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
