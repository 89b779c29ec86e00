"""Messages that did not reach their recipients, counted by state, account and the words for it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select

from dispatcher.store.engine import Store
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.message_pages import message_pages
from dispatcher.store.retries import RETRYABLE, may_retry
from dispatcher.store.tables import ATTEMPT, MESSAGE
from dispatcher.store.transitions import has_state


class FailureCount(NamedTuple):
    """Messages of one state, account and reason: `n` of them, the first number as an example.

    `retryable` and `parts` count those that may be submitted again, and their parts.
    """

    state: int
    account: str | None
    error_code: str | None
    error: str | None
    n: int
    retryable: int
    parts: int
    example: int


def count_failures(store: Store, campaign_ids: Sequence[int]) -> Iterator[FailureCount]:
    """The failures of campaigns, a page of messages at a time: a reason may come repeatedly."""
    with store.read() as conn:
        pages = message_pages(conn, campaign_ids)
    for page in pages:
        with store.read() as conn:
            rows = _count_page(conn, page)
        yield from rows


def _count_page(conn: Connection, page: ColumnElement[bool]) -> list[FailureCount]:
    may = case(*((has_state(state) & may_retry(state), 1) for state in RETRYABLE), else_=0)
    query = (
        select(
            *columns_of(
                MESSAGE,
                FailureCount,
                account=ATTEMPT.c.account,
                n=func.count(),
                retryable=func.sum(may),
                parts=func.sum(may * MESSAGE.c.parts),
                example=func.min(MESSAGE.c.msisdn),
            )
        )
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id, isouter=True)
        .where(page, has_state(*RETRYABLE))
        .group_by(MESSAGE.c.state, ATTEMPT.c.account, MESSAGE.c.error_code, MESSAGE.c.error)
    )
    return fetch_all(conn, FailureCount, query)
