"""How far this machine's clock is from another one that was asked for the time."""

from datetime import datetime


def seconds_ahead(at: datetime, *, asked_at: datetime, answered_at: datetime) -> float:
    """By how many seconds this machine's clock is surely ahead of one that said `at`.

    Negative: behind. The other one was read at some time between the question and the answer: 0
    where `at` is between them, however long the answer took.
    """
    ahead_s = (asked_at - at).total_seconds()
    behind_s = (at - answered_at).total_seconds()
    return max(0.0, ahead_s) - max(0.0, behind_s)
