"""The judge of a chaos run over a store: each rule bites on the one thing that is wrong."""

from contextlib import closing

import pytest

from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store.engine import Store
from dispatcher.store.lost_batches import LOST
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from tests.chaos import staging
from tests.chaos.decisions import Decisions
from tests.chaos.judge import judge, unfinished_but_over
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    add_campaign,
    change,
    later,
    settle,
    submitting,
    verdict,
)


@pytest.fixture
def store(sqlite_url):
    """A store in which whatever is wrong may stay."""
    with closing(Store(sqlite_url)) as opened:
        yield opened


def accepted(*seqs, seconds=1, **more):
    """The ledger: these messages were accepted once each."""
    return {
        FIRST_NUMBER + seq: [
            {"at": later(seconds).timestamp(), "message_id": f"id-{seq}"} | more
        ]
        for seq in seqs
    }  # fmt: skip


def sent(store, *, doubtful=()):
    """A campaign of three recipients that is over; those in `doubtful` are in doubt."""
    add_campaign(store)
    held, (attempt,) = submitting(store)
    sure = [seq for seq in range(3) if seq not in doubtful]
    settle(store, held, attempt, verdict(accepted=sure, doubtful=doubtful))
    update(store, BATCH, state=BatchState.SETTLED)
    update(store, CAMPAIGN, state=CampaignState.FINISHED, finished_at=later(20))


def update(store, table, where=True, **values):
    with store.write() as conn:
        change(conn, table, where if where is not True else table.c.state.is_not(None), **values)


def violations(store, ledger, *, submitted=3, has_list=False, faults=None, **given):
    return judge(
        store, ledger, submitted=submitted, has_list=has_list, faults=faults or {},
        **({"blows": [], "holders": {}, "decisions": Decisions(), "slots": 40} | given),
    ).violations  # fmt: skip


def test_a_campaign_that_was_sent_violates_nothing(store):
    sent(store)
    assert violations(store, accepted(0, 1, 2)) == []


def test_a_recipient_that_was_submitted_and_is_not_in_the_store_is_named(store):
    sent(store)
    (wrong,) = violations(store, accepted(0, 1, 2), submitted=4)
    assert wrong == "4 recipients were submitted, 3 are in the store"


@pytest.mark.parametrize(
    ("account", "provider", "number", "wrongs"),
    [
        ("main", "smsnoc", FIRST_NUMBER + 1, 0),
        (staging.ACCOUNT, staging.PROVIDER, staging.FIRST_NUMBER + 102, 0),
        # Its neighbour is not on the list: what began is named, and what arrived.
        (staging.ACCOUNT, staging.PROVIDER, staging.FIRST_NUMBER + 103, 2),
        (staging.ACCOUNT, "smsnoc", FIRST_NUMBER + 1, 1),
        ("main", staging.PROVIDER, FIRST_NUMBER + 1, 1),
    ],
)
def test_the_account_with_an_allow_list_texts_nobody_else(store, account, provider, number, wrongs):
    sent(store)
    update(store, MESSAGE, MESSAGE.c.seq == 1, msisdn=number)
    update(store, ATTEMPT, ATTEMPT.c.id > 0, account=account)
    ledger = accepted(0, 1, 2)
    ledger[number] = [ledger.pop(FIRST_NUMBER + 1)[0] | {"provider": provider}]
    wrong = [each for each in violations(store, ledger) if "may not text" in each]
    of_the_number = [each for each in wrong if f"…{number % 10000}," in each]
    assert len(of_the_number) == wrongs


def test_a_number_that_the_store_does_not_know_is_named(store):
    sent(store)
    (wrong,) = violations(store, accepted(0, 1, 2, 7))
    assert "was accepted, but is not in the store" in wrong


def test_a_double_and_a_loss_are_named(store):
    sent(store)
    ledger = accepted(0, 1)
    ledger[FIRST_NUMBER] *= 2
    double, *more, loss = violations(store, ledger)
    assert "was accepted 2 times" in double
    assert "attempted 1" in more[0]
    assert "but was never accepted" in loss


def test_with_a_list_nobody_may_stay_in_doubt_and_without_one_each_doubt_needs_a_reason(store):
    sent(store, doubtful=[1])
    spoilt = accepted(0, 2) | accepted(1, spoilt="reset_after")
    assert violations(store, spoilt) == []
    assert violations(store, spoilt, has_list=True) == [
        "1 are in doubt though the provider has a list"
    ]
    (wrong,) = violations(store, accepted(0, 1, 2))
    assert "in doubt for no reason" in wrong
    (wrong,) = violations(store, accepted(0, 2))
    assert "0 were refused vaguely" in wrong
    assert violations(store, accepted(0, 2), faults={"reset_before": 1}) == []


def test_a_request_is_given_up_only_after_a_blow_to_its_worker(store):
    sent(store, doubtful=[0, 1, 2])
    with store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.id > 0, error=LOST, ended_at=later(10))
    assert any("was given up though" in wrong for wrong in violations(store, {}))


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        (ATTEMPT, {"outcome": AttemptOutcome.OPEN}, "are still open"),
        (BATCH, {"submitted": 2, "failed": 1}, "counts submitted, failed wrong"),
        (BATCH, {"state": BatchState.SUBMITTING}, "is still submitting"),
        (CAMPAIGN, {"total": 4}, "says 4 recipients and has 3"),
        (MESSAGE, {"state": MessageState.PENDING}, "is still pending"),
    ],
)
def test_what_the_store_says_of_itself_is_counted_again(store, table, values, words):
    sent(store)
    with store.write() as conn:
        key = next(iter(table.primary_key.columns))
        change(conn, table, key.is_not(None), **values)
    assert any(words in wrong for wrong in violations(store, accepted(0, 1, 2)))


@pytest.mark.parametrize(
    ("is_over", "batch", "is_wrong"),
    [
        (True, {"pending": 3, "state": BatchState.PENDING}, True),
        (False, {"pending": 3, "state": BatchState.PENDING}, False),
        (True, {"pending": 0, "failed": 3, "state": BatchState.SETTLED}, False),
        (True, {"pending": 1, "failed": 2, "state": BatchState.SETTLED}, True),
        (True, {"pending": 0, "failed": 3, "state": BatchState.CLAIMED}, True),
    ],
)
@pytest.mark.parametrize("state", [CampaignState.FINISHED, CampaignState.CANCELLED])
def test_nothing_waits_in_a_campaign_that_is_over(store, state, is_over, batch, is_wrong):
    campaign_id = add_campaign(store)
    update(store, BATCH, **batch)
    update(store, CAMPAIGN, state=state, finished_at=NOW if is_over else None)
    found = unfinished_but_over(store)
    assert bool(found) == is_wrong
    assert all(f"campaign {campaign_id} is over" in sentence for sentence in found)
