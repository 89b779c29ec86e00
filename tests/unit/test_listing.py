"""What a look at a provider's list finds of open messages, and when it need not go on."""

from datetime import UTC, datetime, timedelta

from dispatcher.messages import ListedMessage
from dispatcher.status import MessageState
from dispatcher.store.polls import Polled
from workers.listing import StatusLook

BEGUN = datetime(2026, 3, 1, 12, 0, 5, 700_000, tzinfo=UTC)


class Open:
    """A message without a final state, as the store gives it."""

    def __init__(self, seq, msisdn, provider_message_id):
        self.seq, self.msisdn, self.provider_message_id = seq, msisdn, provider_message_id


def polled(*open_):
    return Polled(
        id=7, polls=1, batch_id=1, campaign_id=1, first_seq=0, size=10, account="main",
        job_id=None, begun_at=BEGUN, poll_until=BEGUN + timedelta(hours=1), open=open_,
    )  # fmt: skip


def entry(msisdn, message_id, at):
    return ListedMessage(
        provider_message_id=message_id, msisdn=msisdn, text=None, sender=None,
        state=MessageState.DELIVERED, raw="Delivered", created_at=at,
    )  # fmt: skip


def test_a_page_of_the_same_second_is_not_older_though_its_dates_are_whole_seconds():
    look = StatusLook([polled(Open(0, 919810000001, "m1"))])
    same_second = BEGUN.replace(microsecond=0)

    assert not look.is_enough([entry(919810000009, "m9", same_second)])


def test_a_page_is_older_only_beyond_what_clocks_may_differ():
    look = StatusLook([polled(Open(0, 919810000001, "m1"))])

    assert not look.is_enough([entry(919810000009, "m9", BEGUN - timedelta(minutes=9))])
    assert look.is_enough([entry(919810000009, "m9", BEGUN - timedelta(minutes=11))])


def test_a_message_without_an_id_is_found_by_its_number_from_its_second_on():
    request = polled(Open(0, 919810000001, None))
    earlier, look = StatusLook([request]), StatusLook([request])
    earlier.add([entry(919810000001, "old", BEGUN - timedelta(seconds=2))])
    look.add([entry(919810000001, "new", BEGUN.replace(microsecond=0))])

    assert earlier.reports_of(request) == []
    assert [report.provider_message_id for report in look.reports_of(request)] == ["new"]


def test_what_no_page_has_shown_is_left_to_be_asked_about():
    request = polled(Open(0, 919810000001, "m1"), Open(1, 919810000002, "m2"))
    look = StatusLook([request])
    look.add([entry(919810000002, "m2", BEGUN)])

    assert [message.seq for message in look.unseen(request).open] == [0]
