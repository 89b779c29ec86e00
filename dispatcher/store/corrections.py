"""Corrections: how often ticks had to repair what crashes, lost messages or lost workers left."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import orjson
from sqlalchemy import Connection, select, update

from dispatcher.store.scheduler import ensure_scheduler_row
from dispatcher.store.tables import SCHEDULER


class Correction(StrEnum):
    """What was corrected. The values are stored, and are public names."""

    #: A worker's lease ran out before it began the batch, which became pending again.
    CLAIM_LEASE_EXPIRED = "claim_lease_expired"
    #: A worker's lease ran out after it began the batch, whose open messages are in doubt.
    SUBMISSION_LEASE_EXPIRED = "submission_lease_expired"
    #: No worker claimed a queued batch, so it was queued again.
    BATCH_NOT_CLAIMED = "batch_not_claimed"
    #: A poll did not end within its lease, so it was made again.
    POLL_NOT_ANSWERED = "poll_not_answered"
    #: A message in the broker was not one of ours, and was dropped.
    MESSAGE_DROPPED = "message_dropped"
    #: A campaign that was over had work, or a batch that had ended had pending messages.
    WORK_AFTER_END = "work_after_end"

    @property
    def label(self) -> str:
        """The words that people read."""
        return _LABELS[self]


_LABELS = {
    Correction.CLAIM_LEASE_EXPIRED: "lease of a claimed batch ran out",
    Correction.SUBMISSION_LEASE_EXPIRED: "lease of a submitting batch ran out",
    Correction.BATCH_NOT_CLAIMED: "queued batch was not claimed",
    Correction.POLL_NOT_ANSWERED: "poll was not answered",
    Correction.MESSAGE_DROPPED: "malformed message in the broker was dropped",
    Correction.WORK_AFTER_END: "work was left after the end of a campaign or batch",
}
#: Counts were first stored under these sentences.
_OLD_KEYS = {label: correction.value for correction, label in _LABELS.items()}

_STORED = select(SCHEDULER.c.corrections).where(SCHEDULER.c.id == 1)


def count_corrections(conn: Connection, made: Mapping[Correction, int]) -> None:
    """Add to the stored counts. A count that keeps growing shows a defect."""
    if not any(made.values()):
        return
    ensure_scheduler_row(conn)
    counts = _decode_counts(conn.execute(_STORED).scalar_one())
    counts.update({correction.value: count for correction, count in made.items()})
    conn.execute(
        update(SCHEDULER)
        .where(SCHEDULER.c.id == 1)
        .values(corrections=orjson.dumps(+counts).decode())
    )


def load_corrections(conn: Connection) -> dict[Correction, int]:
    """The counts so far, of the corrections that this version knows."""
    stored = conn.execute(_STORED).scalar_one_or_none()
    counts = _decode_counts(stored) if stored else Counter[str]()
    return {each: counts[each] for each in Correction if counts[each]}


def _decode_counts(stored: str) -> Counter[str]:
    counts = Counter[str]()
    known: dict[str, int] = orjson.loads(stored)
    for key, count in known.items():
        counts[_OLD_KEYS.get(key, key)] += count
    return counts
