"""Every allowed and every forbidden transition, written out: `x` may follow, `.` may not."""

import pytest

from dispatcher.status import (
    IN_FLIGHT,
    AttemptOutcome,
    BatchState,
    CampaignState,
    Encoding,
    MessageState,
    RejectKind,
    may_follow,
    predecessors,
)

# Columns in the order of the rows.
CAMPAIGNS = """
    importing  . x . . . x x
    scheduled  . . x x . x .
    running    . . . x x x .
    paused     . x . . x x .
    finished   . x . . . . .
    cancelled  . . . . . . .
    rejected   . . . . . . .
"""
BATCHES = """
    pending    . x . . x x x
    queued     x . x . x x x
    claimed    x . . x x x .
    submitting x . . . x x .
    settled    x . . . . . .
    cancelled  . . . . . . .
    replaced   . . . . . . .
"""
MESSAGES = """
    pending     . x . . . x x x x x x
    submitted   . . x x x . . . . . .
    delivered   . . . . . . . . . . .
    undelivered x . . . . . . . . . .
    expired     x . . . . . . . . . .
    rejected    x . . . . . . . . . .
    failed      x x . . . . . . . . .
    in_doubt    x x . . . . x . . x .
    suppressed  . . . . . . . . . . .
    cancelled   . . . . . . . . . . .
    lapsed      . . . . . . . . . . .
"""
ATTEMPTS = """
    open      . x x x x
    answered  . . . . .
    refused   . . . . .
    doubtful  . x . . x
    not_sent  . . . . .
"""


def cases(table):
    """(old, new, allowed) for every cell of a table."""
    rows = [line.split() for line in table.split("\n") if line.strip()]
    names = [row[0] for row in rows]
    return [
        pytest.param(old, new, mark == "x", id=f"{old}-{new}")
        for old, *marks in rows
        for new, mark in zip(names, marks, strict=True)
    ]


@pytest.mark.parametrize(("old", "new", "allowed"), cases(CAMPAIGNS))
def test_a_campaign_may_go_only_where_the_table_says(old, new, allowed):
    assert may_follow(CampaignState(old), CampaignState(new)) is allowed


@pytest.mark.parametrize(("old", "new", "allowed"), cases(BATCHES))
def test_a_batch_may_go_only_where_the_table_says(old, new, allowed):
    assert may_follow(BatchState[old.upper()], BatchState[new.upper()]) is allowed


@pytest.mark.parametrize(("old", "new", "allowed"), cases(MESSAGES))
def test_a_message_may_go_only_where_the_table_says(old, new, allowed):
    was, becomes = MessageState[old.upper()], MessageState[new.upper()]
    assert may_follow(was, becomes) is allowed
    assert (was in predecessors(becomes)) is allowed


@pytest.mark.parametrize(("old", "new", "allowed"), cases(ATTEMPTS))
def test_an_attempt_may_go_only_where_the_table_says(old, new, allowed):
    assert may_follow(AttemptOutcome[old.upper()], AttemptOutcome[new.upper()]) is allowed


@pytest.mark.parametrize(
    ("table", "states"),
    [
        (CAMPAIGNS, CampaignState),
        (BATCHES, BatchState),
        (MESSAGES, MessageState),
        (ATTEMPTS, AttemptOutcome),
    ],
    ids=["campaigns", "batches", "messages", "attempts"],
)
def test_every_state_has_its_row(table, states):
    assert table.split()[:: len(states) + 1] == [state.name.lower() for state in states]


def test_batches_with_a_worker_or_in_its_queue_are_in_flight():
    assert {state.label for state in IN_FLIGHT} == {"queued", "claimed", "submitting"}


def test_public_names_are_lower_case_words():
    assert MessageState.IN_DOUBT.label == "in_doubt"
    assert BatchState.SETTLED.label == "settled"
    assert RejectKind.DUPLICATE.label == "duplicate"
    assert AttemptOutcome.NOT_SENT.label == "not_sent"
    assert [encoding.label for encoding in Encoding] == ["GSM-7", "UCS-2"]


def test_stored_numbers_never_change():
    """They are stored in databases: a new state takes a new number."""
    assert [(s.name, s.value) for s in MessageState] == [
        ("PENDING", 0),
        ("SUBMITTED", 1),
        ("DELIVERED", 2),
        ("UNDELIVERED", 3),
        ("EXPIRED", 4),
        ("REJECTED", 5),
        ("FAILED", 6),
        ("IN_DOUBT", 7),
        ("SUPPRESSED", 8),
        ("CANCELLED", 9),
        ("LAPSED", 10),
    ]
    assert [(s.name, s.value) for s in BatchState] == [
        ("PENDING", 0),
        ("QUEUED", 1),
        ("CLAIMED", 2),
        ("SUBMITTING", 3),
        ("SETTLED", 4),
        ("CANCELLED", 5),
        ("REPLACED", 6),
    ]
    assert [(s.name, s.value) for s in Encoding] == [("GSM7", 0), ("UCS2", 1)]
