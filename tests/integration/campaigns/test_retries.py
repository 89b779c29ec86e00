"""A person's retry: who gets a new attempt, who never does, and what is kept of the one before."""

from decimal import Decimal

import pytest

from dispatcher.campaigns import resolution
from dispatcher.campaigns.failures import group_failures
from dispatcher.errors import Refused
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import campaigns, costs, former_outcomes, listed_messages
from dispatcher.store.doubts import DoubtfulRequest
from dispatcher.store.tables import ALTERNATE_ID, AUDIT, CAMPAIGN, FORMER_OUTCOME, MESSAGE
from tests.support.receipts import give_receipts, leased_poll
from tests.support.stores import (
    FIRST_NUMBER,
    add_campaign,
    begin,
    campaign_of,
    change,
    claimed,
    close,
    counts_of,
    later,
    rows,
    settle,
    states,
    submitting,
    verdict,
)

UNDELIVERED, EXPIRED, REJECTED, FAILED = (
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
    MessageState.REJECTED,
    MessageState.FAILED,
)
ABSENT = ("undelivered", "Absent subscriber", "UnDelivered")
#: seq → what the provider says of it.
SAID = {
    0: "delivered",
    1: ABSENT,
    2: ABSENT,
    3: ("undelivered", "DND", "UnDelivered"),
    4: "expired",
}


def answered(store, **values):
    """A campaign of nine: receipts as SAID, 5 without, 6 rejected, 7 in doubt, 8 unanswered."""
    campaign_id = add_campaign(store, (9,), **values)
    held, (first, second) = submitting(store, [list(range(8)), [8]])
    said = verdict(accepted=range(6), rejected=[6], doubtful=[7], job_id="job")
    settle(store, held, first, said)
    close(store, held, error="no connection", failed_after=1)
    assert second
    give_receipts(store, leased_poll(store, first), SAID)
    return campaign_id, first


def test_only_the_wanted_states_get_a_new_attempt(store):
    campaign_id, _ = answered(store)
    assert states(store) == [
        "delivered", "undelivered", "undelivered", "undelivered", "expired", "submitted",
        "rejected", "in_doubt", "failed",
    ]  # fmt: skip
    done = resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED, REJECTED])
    assert (done.recipients, done.left) == (4, 0)
    assert states(store) == [
        "delivered", "pending", "pending", "pending", "expired", "submitted", "pending",
        "in_doubt", "failed",
    ]  # fmt: skip
    (row,) = [row for row in rows(store, AUDIT) if row.action == "campaign retry"]
    assert row.detail == "4 recipients: undelivered, rejected"
    assert "@" in row.actor


@pytest.mark.parametrize(
    ("reasons", "moved"),
    [
        (["Absent subscriber"], [1, 2]),
        (["absent  SUBSCRIBER."], [1, 2]),
        (["DND"], [3]),
        (["DND", "Absent subscriber"], [1, 2, 3]),
        (["UnDelivered"], [1, 2, 3]),
    ],
)
def test_a_reason_chooses_among_them(store, reasons, moved):
    campaign_id, _ = answered(store)
    resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED], reasons=reasons)
    assert [seq for seq, state in enumerate(states(store)) if state == "pending"] == moved


def test_a_reason_that_nobody_has_changes_nothing(store):
    campaign_id, _ = answered(store)
    with pytest.raises(Refused, match="is undelivered with this reason and may be retried"):
        resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED], reasons=["x"])
    assert counts_of(store, campaign_id)["undelivered"] == 3


DOUBTED = [
    *((state, note, False) for state in (UNDELIVERED, EXPIRED, REJECTED) for note in (
        DoubtNote.UNEXPLAINED, DoubtNote.RESENT, DoubtNote.ASSUMED, DoubtNote.DROPPED,
        DoubtNote.ACCEPTED_LATE, DoubtNote.FOUND | DoubtNote.RESENT,
    )),
    *((state, note, True) for state in (UNDELIVERED, EXPIRED) for note in (
        DoubtNote.FOUND, DoubtNote.ABSENT, DoubtNote.MISSED,
    )),
    (FAILED, DoubtNote.DROPPED, False),
    (FAILED, DoubtNote.RESENT, True),
]  # fmt: skip


@pytest.mark.parametrize(("state", "note", "moves"), DOUBTED)
def test_who_may_have_got_another_message_is_never_retried(sqlite_store, state, note, moves):
    campaign_id, _ = answered(sqlite_store)
    with sqlite_store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.state == state, note=int(note))
    before = states(sqlite_store)
    (group, *_) = group_failures(
        sqlite_store, [campaign_of(sqlite_store, campaign_id)], lambda _name: {}, states=[state]
    )
    if not moves:
        with pytest.raises(Refused, match=r"may be retried|has failed"):
            resolution.retry_messages(sqlite_store, str(campaign_id), states=[state])
        assert (states(sqlite_store), group.retryable, group.parts) == (before, 0, 0)
        return
    resolution.retry_messages(sqlite_store, str(campaign_id), states=[state])
    assert group.retryable == group.recipients
    moved = [row for row in rows(sqlite_store, MESSAGE) if row.state == MessageState.PENDING]
    # Its new request has no doubt yet; a person's resend stays noted.
    assert {row.note for row in moved} == {note if state is FAILED else None}


@pytest.mark.parametrize("state", [MessageState.DELIVERED, MessageState.SUBMITTED])
def test_delivered_messages_cannot_be_retried_at_all(store, state):
    campaign_id, _ = answered(store)
    with pytest.raises(ValueError, match="may not follow"):
        resolution.retry_messages(store, str(campaign_id), states=[state])
    assert counts_of(store, campaign_id)["delivered"] == 1


def test_what_became_of_the_attempt_before_is_kept(store):
    campaign_id, first = answered(store)
    resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED])
    kept = rows(store, FORMER_OUTCOME)
    assert [(row.seq, row.state, row.attempt_id) for row in kept] == [
        (seq, UNDELIVERED, first) for seq in (1, 2, 3)
    ]
    assert {(row.provider_message_id, row.error_code, row.final_at) for row in kept[:2]} == {
        ("id-1", "Absent subscriber", later(30)), ("id-2", "Absent subscriber", later(30)),
    }  # fmt: skip
    assert {row.provider_message_id for row in rows(store, ALTERNATE_ID)} == {
        "id-1",
        "id-2",
        "id-3",
    }
    message = rows(store, MESSAGE, MESSAGE.c.seq == 1)[0]
    assert (message.provider_message_id, message.error, message.final_at, message.cost) == (
        None, None, None, None,
    )  # fmt: skip
    with store.read() as conn:
        assert former_outcomes.count_retried(conn, [campaign_id]) == {UNDELIVERED: 3}
        assert costs.campaign_cost(conn, campaign_id) == Decimal("2.5")


def retried(store):
    """A campaign whose seqs 1, 2 and 3 have a second attempt; its claim and that attempt."""
    campaign_id, first = answered(store)
    resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED])
    held = claimed(store, now=later(40))
    (second,) = begin(store, held, [[1, 2, 3]], now=later(41))
    return campaign_id, first, held, second


def test_each_attempt_of_a_message_is_paid(store):
    campaign_id, _first, held, second = retried(store)
    settle(store, held, second, verdict(accepted=[1, 2, 3], job_id="again"), now=later(42))
    close(store, held, now=later(43))
    give_receipts(store, leased_poll(store, second, now=later(60)), {1: "delivered"})
    assert states(store)[1:4] == ["delivered", "submitted", "submitted"]
    with store.read() as conn:
        assert costs.campaign_cost(conn, campaign_id) == Decimal("3.0")


def test_a_late_receipt_of_the_attempt_before_changes_nothing(store):
    """The provider may still say of the first message that it arrived."""
    campaign_id = add_campaign(store, (2,))
    held, (first,) = submitting(store)
    settle(store, held, first, verdict(accepted=[0, 1], job_id="job"))
    close(store, held)
    polled = leased_poll(store, first)
    give_receipts(store, polled, {0: "undelivered"}, ends=False)
    resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED])
    assert give_receipts(store, polled, {0: "delivered"}, ends=False) == 0
    assert states(store) == ["pending", "submitted"]
    again = claimed(store, now=later(40))
    (second,) = begin(store, again, [[0]], now=later(41))
    assert give_receipts(store, polled, {0: "delivered"}, ends=False) == 0
    settle(store, again, second, verdict(accepted=[0], job_id="again"), now=later(42))
    close(store, again, now=later(43))
    assert give_receipts(store, polled, {0: "delivered", 1: "delivered"}) == 1
    assert states(store) == ["submitted", "delivered"]


def test_an_entry_of_the_attempt_before_proves_nothing_about_the_new_one(store):
    """In the provider's list it has the same number, text and sender."""
    _campaign, _first, held, second = retried(store)
    settle(store, held, second, verdict(doubtful=[1, 2, 3]), now=later(42))
    with store.write() as conn:
        change(conn, FORMER_OUTCOME, FORMER_OUTCOME.c.seq == 2, provider_message_id=None)
    doubtful = doubt_about(store, second)
    with store.read() as conn:
        listed = {"id-1", "id-2", "id-3"}
        others = listed_messages.load_known_ids(conn, doubtful, listed, doubtful.begun_at)
    assert "id-1" in others[FIRST_NUMBER + 1].answered_ids
    assert others[FIRST_NUMBER + 1].without_id == 0
    assert others[FIRST_NUMBER + 2].without_id == 1


def doubt_about(store, attempt_id) -> DoubtfulRequest:
    from dispatcher.store import doubts

    with store.read() as conn:
        return doubts.load_doubtful(conn, attempt_id)


def test_a_retry_opens_a_finished_campaign_and_none_that_was_cancelled(store):
    campaign_id = add_campaign(store, (2,))
    held, (first,) = submitting(store)
    settle(store, held, first, verdict(accepted=[0, 1], job_id="job"))
    close(store, held)
    give_receipts(store, leased_poll(store, first), {0: "expired", 1: "undelivered"})
    with store.write() as conn:
        campaigns.finish_campaigns(conn, later(50))
    assert campaign_of(store, campaign_id).state == CampaignState.FINISHED
    resolution.retry_messages(store, str(campaign_id), states=[EXPIRED])
    reopened = campaign_of(store, campaign_id)
    assert (reopened.state, reopened.finished_at) == (CampaignState.SCHEDULED, None)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=CampaignState.CANCELLED)
    with pytest.raises(Refused, match="is cancelled"):
        resolution.retry_messages(store, str(campaign_id), states=[UNDELIVERED])


def test_failures_are_counted_by_what_was_said(store):
    campaign_id, _ = answered(store)
    groups = group_failures(store, [campaign_of(store, campaign_id)], lambda _name: {})
    assert [(one.state.label, one.reason, one.recipients, one.parts) for one in groups] == [
        ("undelivered", "Absent subscriber", 2, 2),
        ("undelivered", "DND", 1, 1),
        ("expired", "no reason given", 1, 1),
        ("rejected", "42: blocked", 1, 1),
        ("failed", "no connection", 1, 1),
    ]
    assert "off or had no signal" in groups[0].explanation.meaning
    assert groups[1].explanation.may_help is False
