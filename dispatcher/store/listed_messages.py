"""What the store knows about the messages in a provider's list, and about their numbers."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, Text, select

from dispatcher.policy.reconciliation import DoubtNote, OtherMessages
from dispatcher.status import ACCEPTED, AttemptOutcome
from dispatcher.store import alternate_ids, former_outcomes
from dispatcher.store.doubts import DoubtfulRequest
from dispatcher.store.fetching import columns_of, fetch_messages
from dispatcher.store.row_parts import AnsweredMessage, OtherMessage
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import ATTEMPT, MESSAGE
from dispatcher.types import ListedMessage


def find_answer_times(
    conn: Connection, account: str, entries: Iterable[ListedMessage]
) -> dict[str, datetime]:
    """Provider ids among `entries` that an answer gave to a message of ours: when it came."""
    pairs = [(entry.msisdn, entry.provider_message_id) for entry in entries]
    if not pairs:
        return {}
    given = literal_table(conn, [("msisdn", BigInteger()), ("id", Text())], pairs)
    rows = fetch_messages(
        conn,
        AnsweredMessage,
        select(*columns_of(MESSAGE, AnsweredMessage, ended_at=ATTEMPT.c.ended_at))
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id)
        .where(
            MESSAGE.c.msisdn == given.c.msisdn,
            MESSAGE.c.provider_message_id == given.c.id,
            ATTEMPT.c.account == account,
            ATTEMPT.c.ended_at.is_not(None),
        ),
    )
    return {
        row.provider_message_id: row.ended_at
        for row in rows
        if not DoubtNote(row.note or 0) & DoubtNote.FOUND
    }


def load_known_ids(
    conn: Connection, doubtful: DoubtfulRequest, listed: Collection[str], start: datetime
) -> dict[int, OtherMessages]:
    """What else is known about the numbers in doubt; `listed` are the ids the list has for them.

    `start`: when the first request began that an entry for them may be of.
    """
    numbers = [recipient.msisdn for recipient in doubtful.recipients]
    held, matched = defaultdict[int, set[str]](set), defaultdict[int, set[str]](set)
    nameless, busy = defaultdict[int, int](int), set[int]()
    given = literal_table(conn, [("msisdn", BigInteger())], [(number,) for number in numbers])
    others = fetch_messages(
        conn,
        OtherMessage,
        select(
            *columns_of(
                MESSAGE, OtherMessage, outcome=ATTEMPT.c.outcome, begun_at=ATTEMPT.c.begun_at
            )
        )
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id)
        .where(
            MESSAGE.c.msisdn == given.c.msisdn,
            ATTEMPT.c.account == doubtful.account,
            ATTEMPT.c.id != doubtful.id,
        ),
    )
    since = start - timedelta(days=1)
    for row in others:
        if row.provider_message_id is not None:
            by_look = DoubtNote(row.note or 0) & DoubtNote.FOUND
            (matched if by_look else held)[row.msisdn].add(row.provider_message_id)
        elif row.outcome == AttemptOutcome.OPEN:
            busy.add(row.msisdn)
        elif row.state in ACCEPTED and row.begun_at >= since:
            nameless[row.msisdn] += 1
    for number in former_outcomes.accepted_without_id(conn, doubtful.account, numbers, since):
        nameless[number] += 1
    for other in alternate_ids.find_known(conn, doubtful.account, listed):
        if other.provider_message_id not in matched[other.msisdn]:
            held[other.msisdn].add(other.provider_message_id)
    return {
        number: OtherMessages(
            answered_ids=frozenset(held[number]),
            matched_ids=frozenset(matched[number]),
            without_id=nameless[number],
            has_open_request=number in busy,
        )
        for number in numbers
    }
