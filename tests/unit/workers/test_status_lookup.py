"""What a scan of a provider's list finds of open messages, and when it may stop."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.base import StatusLookup
from dispatcher.status import MessageState
from dispatcher.store.polls import PolledRequest
from dispatcher.types import ListedMessage, ListPage
from workers.lists.status_lookup import StatusScan, has_message_list, scan_statuses

BEGUN = datetime(2026, 3, 1, 12, 0, 5, 700_000, tzinfo=UTC)


class Open:
    """A message without a final state, as the store gives it."""

    def __init__(self, seq, msisdn, provider_message_id):
        self.seq, self.msisdn, self.provider_message_id = seq, msisdn, provider_message_id


def polled(*open_):
    return PolledRequest(
        id=7, polls=1, batch_id=1, campaign_id=1, first_seq=0, size=10, account="main",
        job_id=None, begun_at=BEGUN, poll_until=BEGUN + timedelta(hours=1), open=open_,
    )  # fmt: skip


def entry(msisdn, message_id, at):
    return ListedMessage(
        provider_message_id=message_id, msisdn=msisdn, text=None, sender=None,
        state=MessageState.DELIVERED, raw="Delivered", created_at=at,
    )  # fmt: skip


def test_a_page_of_the_same_second_is_not_older_though_its_dates_are_whole_seconds():
    scan = StatusScan([polled(Open(0, 919810000001, "m1"))])
    same_second = BEGUN.replace(microsecond=0)

    assert not scan.is_enough([entry(919810000009, "m9", same_second)])


def test_a_page_is_older_only_beyond_what_clocks_may_differ():
    scan = StatusScan([polled(Open(0, 919810000001, "m1"))])

    assert not scan.is_enough([entry(919810000009, "m9", BEGUN - timedelta(minutes=10))])
    old, fresh = (entry(919810000009, "m9", BEGUN - timedelta(minutes=n)) for n in (11, 1))
    assert scan.is_enough([old])
    assert not scan.is_enough([fresh, old])
    assert not scan.is_enough([])
    scan.add_entries([entry(919810000001, "m1", BEGUN)])
    assert scan.is_enough([fresh])  # nobody is missing any more


def test_pages_are_read_down_to_the_oldest_of_several_requests():
    newer = replace(polled(Open(0, 919810000001, "m1")), id=8, begun_at=BEGUN + timedelta(hours=3))
    scan = StatusScan([newer, polled(Open(0, 919810000002, "m2"))])
    between = entry(919810000009, "m9", BEGUN + timedelta(hours=1))
    assert not scan.is_enough([between])


def test_a_message_without_an_id_is_found_by_its_number_from_its_second_on():
    request = polled(Open(0, 919810000001, None))
    earlier, later = StatusScan([request]), StatusScan([request])
    earlier.add_entries([entry(919810000001, "old", BEGUN - timedelta(seconds=2))])
    later.add_entries([entry(919810000001, "new", BEGUN.replace(microsecond=0))])

    assert earlier.reports_of(request) == []
    assert [report.provider_message_id for report in later.reports_of(request)] == ["new"]


@pytest.mark.parametrize(
    ("open_", "shown", "found"),
    [
        ([("m1", 1)], ("m1", 1, BEGUN), 1),
        ([("m1", 1)], ("m1", None, None), 1),
        ([(None, 1)], ("x", 1, BEGUN), 1),
        ([(None, 1)], ("x", 1, None), 0),
        ([(None, 1)], ("x", None, BEGUN), 0),
        ([(None, 1)], ("x", 2, BEGUN), 0),
        ([(None, 1), (None, 1)], ("x", 1, BEGUN), 0),
        ([("m1", 1), (None, 1)], ("m1", 1, BEGUN), 1),
    ],
)
def test_an_entry_is_a_messages_by_its_id_or_as_the_only_one_to_its_number(open_, shown, found):
    messages = [Open(seq, number, id_) for seq, (id_, number) in enumerate(open_)]
    scan = StatusScan([polled(*messages)])
    message_id, number, at = shown
    scan.add_entries([entry(number, message_id, at)])
    assert (len(scan.reports_of(polled())), scan.missing_count) == (found, len(open_) - found)


def test_the_first_entry_of_a_message_counts():
    request = polled(Open(0, 919810000001, "m1"))
    scan = StatusScan([request])
    first = entry(919810000001, "m1", BEGUN)
    scan.add_entries([first, replace(first, raw="older")])
    scan.add_entries([replace(first, raw="oldest")])
    assert [report.raw for report in scan.reports_of(request)] == ["Delivered"]


@pytest.mark.parametrize(
    ("ids", "shown", "at", "is_cheaper"),
    [
        (["m1"], [], BEGUN, True),
        ([None], [], BEGUN, False),
        ([None], [("x", 0)], BEGUN, True),
        ([None, "m1"], [("x", 0)], BEGUN, True),
        ([None], [("x", 9)], None, True),  # without dates no entry is found by its number
        (["m0", "m1", "m2", "m3"], [], BEGUN, False),
        (["m0", "m1", "m2", "m3"], [("m0", 0)], BEGUN, True),
    ],
)
def test_reading_on_is_dearer_once_few_are_missing_that_have_an_id(ids, shown, at, is_cheaper):
    scan = StatusScan([polled(*(Open(n, n, id_) for n, id_ in enumerate(ids)))])
    if shown:
        scan.add_entries([entry(number, message_id, at) for message_id, number in shown])
    assert scan.single_lookups_are_cheaper is is_cheaper


def test_what_no_page_has_shown_is_left_to_be_asked_about():
    request = polled(Open(0, 919810000001, "m1"), Open(1, 919810000002, "m2"))
    scan = StatusScan([request])
    scan.add_entries([entry(919810000002, "m2", BEGUN)])

    assert [message.seq for message in scan.only_unseen(request).open] == [0]


# --- Reading pages ----------------------------------------------------------------------------


class Listed:
    """A provider whose list has these pages; a page that is an error is raised."""

    def __init__(self, *pages, lookup=StatusLookup.BY_MESSAGE):
        self.capabilities = SimpleNamespace(delivery_status=lookup, lists_accepted=True)
        self.settings = SimpleNamespace(timeout_s=1)
        self.pages, self.asked = pages, 0

    def list_request(self, page):
        return page

    def parse_list(self, page, response):
        del response
        self.asked += 1
        found = self.pages[page]
        if isinstance(found, Exception):
            raise found
        last = page + 1 == len(self.pages)
        return ListPage(entries=tuple(found), next_page=None if last else page + 1)


def scan_list(provider, *open_):
    reader = SimpleNamespace(send=lambda _account, request: request, note_error=lambda *_: None)
    services = SimpleNamespace(reader=reader)
    return scan_statuses(services, provider, [polled(*open_)], lambda: None)


def many(count, *, ids=True):
    return [Open(n, 919810000000 + n, f"m{n}" if ids else None) for n in range(count)]


def page_of(*numbers, at=BEGUN):
    return [entry(919810000000 + n, f"m{n}", at) for n in numbers]


def other(number):
    """A page of somebody else's message, without dates."""
    return [entry(919899999999, f"x{number}", None)]


def test_a_few_messages_are_asked_about_without_a_page():
    provider = Listed(page_of(0, 1, 2))

    assert scan_list(provider, *many(3)).needs_single_lookups
    assert provider.asked == 0


def test_a_few_without_an_id_are_looked_for_on_the_list():
    provider = Listed(page_of(0))

    scan_list(provider, *many(1, ids=False))

    assert provider.asked == 1


def test_pages_are_read_until_every_open_message_was_shown():
    provider = Listed(page_of(9), page_of(*range(4)), page_of(*range(4, 8)), page_of(8))

    assert scan_list(provider, *many(8)).missing_count == 0
    assert provider.asked == 3


def test_after_as_many_pages_without_a_match_as_messages_are_missing_these_are_asked_about():
    provider = Listed(page_of(0, 1, at=None), *(other(n) for n in range(50)))

    scan = scan_list(provider, *many(9))

    assert (scan.missing_count, scan.needs_single_lookups, provider.asked) == (7, True, 1 + 7)


def test_what_the_whole_list_does_not_show_is_asked_about():
    assert scan_list(Listed(page_of(0, 1)), *many(5)).needs_single_lookups


@pytest.mark.parametrize(
    ("kind", "asks"),
    [
        (ErrorKind.CONFIGURATION, True),
        (ErrorKind.DOUBTFUL, True),
        (ErrorKind.THROTTLED, False),
        (ErrorKind.UNREACHABLE, False),
        (ErrorKind.CREDENTIALS, False),
    ],
)
def test_where_the_list_cannot_be_read_messages_may_still_be_asked_about(kind, asks):
    scan = scan_list(Listed(ProviderError(kind, "no")), *many(5))

    assert (scan.failed, scan.needs_single_lookups, scan.is_impossible) == (True, asks, False)


@pytest.mark.parametrize(
    ("kind", "is_impossible"),
    [
        (ErrorKind.CONFIGURATION, True),
        (ErrorKind.CAMPAIGN, False),
        (ErrorKind.DOUBTFUL, False),
        (ErrorKind.UNREACHABLE, False),
    ],
)
def test_where_the_list_is_the_only_way_no_message_is_asked_about(kind, is_impossible):
    scan = scan_list(Listed(ProviderError(kind, "no"), lookup=StatusLookup.BY_LIST), *many(5))

    found = (scan.failed, scan.needs_single_lookups, scan.is_impossible)
    assert found == (True, False, is_impossible)


def test_a_list_that_is_the_only_way_is_read_to_its_end_and_may_not_exist():
    pages = [other(n) for n in range(9)]
    whole = Listed(*pages, lookup=StatusLookup.BY_LIST)
    none = Listed(ProviderError(ErrorKind.CONFIGURATION, "404"), lookup=StatusLookup.BY_LIST)
    away = Listed(ProviderError(ErrorKind.UNREACHABLE, "away"), lookup=StatusLookup.BY_LIST)

    assert not scan_list(whole, *many(2)).needs_single_lookups
    assert whole.asked == 9
    assert scan_list(none, *many(2)).is_impossible
    assert not scan_list(away, *many(2)).is_impossible


def test_a_server_that_always_gives_the_same_page_is_left_alone():
    provider = Listed(*[other(0)] * 1000, lookup=StatusLookup.BY_LIST)

    scan_list(provider, *many(2))

    assert provider.asked == 4


@pytest.mark.parametrize(
    ("lookup", "lists_accepted", "has_list"),
    [
        (StatusLookup.BY_MESSAGE, True, True),
        (StatusLookup.BY_MESSAGE, False, False),
        (StatusLookup.BY_LIST, False, True),
        (StatusLookup.BY_JOB, True, False),
    ],
)
def test_which_providers_have_a_list_of_messages(lookup, lists_accepted, has_list):
    able = SimpleNamespace(delivery_status=lookup, lists_accepted=lists_accepted)
    assert has_message_list(SimpleNamespace(capabilities=able)) is has_list


def test_where_no_page_may_be_read_now_the_scan_ends_without_waiting():
    """A poll comes again by itself."""
    waits = []
    reader = SimpleNamespace(send=lambda _account, _request: None)
    stopping = SimpleNamespace(wait=lambda seconds: waits.append(seconds) or True)
    services = SimpleNamespace(reader=reader, stopping=stopping)
    scan = scan_statuses(services, Listed(page_of(0)), [polled(*many(5))], lambda: None)
    assert (scan.failed, waits) == (True, [])
