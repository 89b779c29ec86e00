"""Finds an earlier submission with the same idempotency key, or with the same content in a day.

Content is the recipients with their texts, however the file is saved. A campaign of which nothing
was sent, and nothing will be, does not count.
"""

from datetime import timedelta

from sqlalchemy import Connection

from dispatcher.errors import RepeatRefused
from dispatcher.status import CampaignState
from dispatcher.store import campaign_search
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rows import CampaignRow
from dispatcher.submission.request import ValidatedSubmission

_SAME_WITHIN = timedelta(hours=24)


def find_submitted(store: Store, submission: ValidatedSubmission) -> CampaignRow | None:
    """The campaign that was submitted before with this idempotency key and the same content.

    Reads the whole file if there is one with the key. Raises Refused if its content is another.
    """
    known = None
    if (key := submission.request.idempotency_key) is not None:
        with store.read() as conn:
            known = campaign_search.find_by_idempotency_key(conn, key)
    if known is None or known.state == CampaignState.IMPORTING:
        return None
    # Campaigns of earlier versions have the other key.
    if known.content_key not in {submission.source_key, submission.read_content_key()}:
        raise RepeatRefused(
            f"the idempotency key was used before, by campaign {known.id} with another "
            "file, text or account",
            "use a new key for a new campaign",
        )
    return known


def refuse_used_key(conn: Connection, key: str | None) -> None:
    """Raises Refused if a campaign that is complete has this idempotency key."""
    known = None if key is None else campaign_search.find_by_idempotency_key(conn, key)
    if known is not None and known.state != CampaignState.IMPORTING:
        raise RepeatRefused(
            f"campaign {known.id} was submitted with this idempotency key a moment ago",
            "submit again to see it",
        )


def refuse_same_content(conn: Connection, content_keys: tuple[str, ...]) -> None:
    """Raises Refused if a campaign with one of these content keys was accepted within 24 hours."""
    since = store_now(conn) - _SAME_WITHIN
    same = campaign_search.find_same_content(conn, content_keys, since)
    if same is not None:
        raise RepeatRefused(
            f"the same recipients and text were submitted as campaign {same.id} "
            f"({same.name!r}) at {same.created_at:%Y-%m-%d %H:%M:%S} UTC",
            "give --again to send it a second time",
        )
