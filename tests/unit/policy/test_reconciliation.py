"""Scans of a provider's list: what they prove about recipients in doubt, and what they do not."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.backoff import next_scan_delay_s, next_try_delay_s
from dispatcher.policy.reconciliation import (
    Doubt,
    ListFinding,
    ListScan,
    OtherMessages,
    decide_doubts,
    matches_message,
)
from dispatcher.status import MessageState
from dispatcher.types import ListedMessage, ListPage

BEGUN = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
NUMBER, OTHER = 919_800_000_001, 919_800_000_002
TEXT, SENDER = "Hello Asha", "SENDER"
DAY = 86_400


def at(seconds):
    return BEGUN + timedelta(seconds=seconds)


def entry(message_id, msisdn=NUMBER, *, text=TEXT, sender=SENDER, seconds=5):
    """An entry of the list; `seconds` after the start, None where the list has no dates."""
    return ListedMessage(
        provider_message_id=message_id,
        msisdn=msisdn,
        text=text,
        sender=sender,
        state=MessageState.SUBMITTED,
        raw="Enroute",
        created_at=None if seconds is None else at(seconds),
    )


#: A message of ours that was answered before the start: with it a look counts.
OLDER = entry("older", OTHER, seconds=-20)
ANSWERED = {"older": at(-10)}
#: A message of ours that was answered after the start: known, but no proof of reaching back.
NEWER = entry("newer", OTHER, seconds=20)


def look(*pages, answered=ANSWERED, complete=True, numbers=(NUMBER,)):
    seen = ListScan(numbers)
    for page in pages or ((OLDER,),):
        seen.add_page(ListPage(entries=tuple(page), next_page=None), answered)
    seen.is_complete = complete
    return seen


def find(seen, *, missed=False, standing=None, absence_provable=True, text=TEXT, since=None):
    (decision,) = decide_doubts(
        [Doubt(seq=7, msisdn=NUMBER, text=text, was_missed=missed, since=since)],
        begun_at=BEGUN,
        sender=SENDER,
        scan=seen,
        others={NUMBER: standing or OtherMessages()},
        absence_provable=absence_provable,
    )
    return decision


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (entry("a"), ListFinding.FOUND),
        (entry("a", seconds=None), ListFinding.FOUND),
        (entry("a", text="Hello  Asha\n"), ListFinding.FOUND),
        (entry("a", sender="+sender"), ListFinding.FOUND),
        (entry("a", sender=None), ListFinding.FOUND),
        (entry("a", text="Hello Ash"), ListFinding.UNEXPLAINED),
        (entry("a", text=None), ListFinding.UNEXPLAINED),
        (entry("a", sender="OTHERS"), ListFinding.UNEXPLAINED),
        (entry("a", seconds=-600), ListFinding.FOUND),
        (entry("a", seconds=-601), ListFinding.UNEXPLAINED),
        (entry("a", seconds=-24 * 3600), ListFinding.UNEXPLAINED),
        (entry("a", seconds=-25 * 3600), ListFinding.MISSED),
        (entry("a", OTHER), ListFinding.MISSED),
    ],
)
def test_number_text_and_sender_must_agree_in_the_time_span(shown, says):
    assert find(look([shown, OLDER])).finding is says


@pytest.mark.parametrize(
    ("since", "text", "standing", "says"),
    [
        (None, TEXT, {}, ListFinding.UNEXPLAINED),
        (-30, TEXT, {}, ListFinding.FOUND),
        # Answered between the entry and the request that is resent then.
        (-5, TEXT, {}, ListFinding.UNEXPLAINED),
        (-30, "Bye", {}, ListFinding.UNEXPLAINED),
        (-30, TEXT, {"answered_ids": frozenset({"a"})}, ListFinding.MISSED),
        (-30, TEXT, {"without_id": 1}, ListFinding.UNEXPLAINED),
    ],
)
def test_an_entry_of_any_request_of_a_recipient_who_was_resent_finds_the_recipient(
    since, text, standing, says
):
    """Its first request may have been accepted, or its second: it is the same recipient."""
    seen = look([OLDER, entry("a", text=text, seconds=-25)])
    found = find(
        seen, standing=OtherMessages(**standing), since=None if since is None else at(since)
    )
    assert found.finding is says


@pytest.mark.parametrize("order", [1, -1])
def test_one_date_that_is_wrong_makes_a_scan_prove_nothing(order):
    """Dated more than a day before its answer came, wherever in the list it is."""
    known = {"right": at(-10), "wrong": at(-10)}
    shown = [entry("right", OTHER, seconds=-20), entry("wrong", OTHER, seconds=-DAY - 11)]
    assert look([shown[0]], answered=known).can_prove_absence(BEGUN)
    assert not look(shown[::order], answered=known).can_prove_absence(BEGUN)


@pytest.mark.parametrize(("seconds", "reaches"), [(-1, True), (0, False), (1, False)])
def test_a_list_reaches_back_with_an_entry_that_is_surely_older(seconds, reaches):
    seen = look((OLDER,), answered={"older": at(seconds)})
    assert seen.reaches_back_to(BEGUN) is reaches


def test_a_found_recipient_comes_with_its_entry():
    shown = entry("a")
    assert find(look([shown, OLDER])).entry is shown


@pytest.mark.parametrize(
    ("standing", "says"),
    [
        (OtherMessages(answered_ids=frozenset({"a"})), ListFinding.MISSED),
        (OtherMessages(matched_ids=frozenset({"a"})), ListFinding.UNEXPLAINED),
        (OtherMessages(without_id=1), ListFinding.UNEXPLAINED),
        (OtherMessages(has_open_request=True), ListFinding.UNKNOWN),
    ],
)
def test_an_entry_that_may_belong_to_another_message_never_matches(standing, says):
    assert find(look([entry("a"), OLDER]), standing=standing).finding is says


def test_an_entry_that_a_scan_matched_to_another_text_belongs_to_another():
    standing = OtherMessages(matched_ids=frozenset({"a"}))
    assert (
        find(look([entry("a", text="Bye"), OLDER]), standing=standing).finding is ListFinding.MISSED
    )


def test_one_entry_more_than_there_are_messages_without_id_is_found():
    seen = look([entry("b", seconds=6), entry("a"), OLDER])
    assert find(seen, standing=OtherMessages(without_id=1)).entry.provider_message_id == "a"


def test_an_entry_is_used_for_one_of_two_doubts_about_a_number():
    doubts = [Doubt(seq=seq, msisdn=NUMBER, text=TEXT, was_missed=False) for seq in (7, 8)]
    decided = decide_doubts(
        doubts, begun_at=BEGUN, sender=SENDER, scan=look([entry("a"), OLDER]), others={},
        absence_provable=True,
    )  # fmt: skip
    assert [one.finding for one in decided] == [ListFinding.FOUND, ListFinding.UNEXPLAINED]


def test_an_id_with_two_numbers_proves_nothing():
    seen = look([entry("a"), entry("a", OTHER), OLDER], numbers=(NUMBER, OTHER))
    assert find(seen).finding is ListFinding.UNEXPLAINED


def test_an_entry_shown_twice_because_pages_shifted_is_one():
    seen = look([entry("a")], [entry("a"), OLDER])
    assert find(seen, standing=OtherMessages(without_id=1)).finding is ListFinding.UNEXPLAINED


def test_only_entries_for_numbers_in_doubt_are_kept():
    """A list of millions would fill the memory; and an entry may have an unreadable number."""
    seen = look([entry("a"), entry("b", OTHER), entry("c", None)])
    kept = {msisdn: len(seen.entries_since(msisdn, BEGUN)) for msisdn in (NUMBER, OTHER, None)}
    assert kept == {NUMBER: 1, OTHER: 0, None: 0}


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (look([OLDER]), ListFinding.ABSENT),
        (look([NEWER], [OLDER]), ListFinding.ABSENT),
        (look([OLDER], complete=False), ListFinding.UNKNOWN),
        (look([]), ListFinding.UNKNOWN),
        (look([OLDER], answered={}), ListFinding.UNKNOWN),
        (look([NEWER], answered={"newer": at(21)}), ListFinding.UNKNOWN),
        # Reaches back to a day-old entry of others, and shows a newer one that we know.
        (
            look([NEWER, entry("x", OTHER, seconds=-DAY - 1)], answered={"newer": at(21)}),
            ListFinding.ABSENT,
        ),
        (
            look([NEWER, entry("x", OTHER, seconds=-DAY + 60)], answered={"newer": at(21)}),
            ListFinding.UNKNOWN,
        ),
        # Reaches back to a day-old entry, but shows no message that we know.
        (look([entry("x", OTHER, seconds=-DAY - 1)], answered={}), ListFinding.UNKNOWN),
        # The dates of this list are wrong: ours is dated a week before it was made.
        (look([replace(OLDER, created_at=at(-7 * DAY))]), ListFinding.UNKNOWN),
        (look([entry("a", text="altered"), OLDER]), ListFinding.UNEXPLAINED),
        (
            look([OLDER, entry("a", text="below the older one", seconds=None)]),
            ListFinding.UNEXPLAINED,
        ),
    ],
)
def test_only_a_scan_that_can_be_trusted_proves_absence(seen, says):
    assert find(seen, missed=True).finding is says


@pytest.mark.parametrize(("later_s", "says"), [(0, ListFinding.ABSENT), (1, ListFinding.UNKNOWN)])
def test_a_date_may_be_a_day_before_the_answer(later_s, says):
    dated = replace(OLDER, created_at=at(-3 * DAY))
    seen = look([dated], answered={"older": at(later_s - 2 * DAY)})
    assert find(seen, missed=True).finding is says


#: What our clock was ahead by when the request began; the entries have the provider's dates.
AHEAD = 2 * DAY
#: A message of ours from before our clock jumped.
BEFORE = entry("before", OTHER, seconds=-AHEAD - 60)
#: The request's own entry, as the provider dates it.
OWN = entry("own", seconds=-AHEAD + 5)


@pytest.mark.parametrize(
    ("pages", "answered", "says"),
    [
        ([[OWN, BEFORE]], {"before": at(-AHEAD - 50)}, ListFinding.UNEXPLAINED),
        ([[OWN], [BEFORE]], {"before": at(-AHEAD - 50)}, ListFinding.UNEXPLAINED),
        # Answered while our clock was ahead: its date is wrong by our clock.
        (
            [[entry("ahead", OTHER, seconds=-AHEAD + 20), OWN, BEFORE]],
            {"ahead": at(25), "before": at(-AHEAD - 50)},
            ListFinding.UNEXPLAINED,
        ),
        # Nothing that we know has a date.
        (
            [[OWN, replace(BEFORE, created_at=None)]],
            {"before": at(-AHEAD - 50)},
            ListFinding.UNEXPLAINED,
        ),
        # The clocks agree: it is of the day before, so it is not of this request.
        ([[OWN, OLDER]], ANSWERED, ListFinding.ABSENT),
    ],
)
def test_an_entry_is_old_by_its_date_only_if_the_clocks_agree(pages, answered, says):
    assert find(look(*pages, answered=answered), missed=True).finding is says


def test_dates_alone_do_not_end_a_scan_while_our_clock_is_ahead():
    """Its first page would be older than the request, and the request's own entry on the next."""
    seen = look([entry("x", OTHER, seconds=-AHEAD + 60)], answered={})
    assert not seen.reaches_back_to(BEGUN)
    seen.add_page(ListPage(entries=(OWN, BEFORE), next_page=None), {"before": at(-AHEAD - 50)})
    assert seen.reaches_back_to(BEGUN)


def test_a_list_that_cannot_be_read_is_tried_less_often_and_for_a_day():
    waited = [next_try_delay_s(age, 60) for age in (60, 200, 1000, DAY, DAY + 1)]
    assert waited == [60, 100, 500, 3600, None]


@pytest.mark.parametrize(
    ("pages", "proves"), [((True, True), True), ((False, True), False), ((True, False), False)]
)
def test_a_page_with_an_entry_that_cannot_be_read_spoils_the_whole_scan(pages, proves):
    seen = ListScan([NUMBER])
    for is_whole, shown in zip(pages, (NEWER, OLDER), strict=True):
        seen.add_page(ListPage(entries=(shown,), next_page=None, whole=is_whole), ANSWERED)
    seen.is_complete = True
    assert seen.can_prove_absence(BEGUN) is proves


def test_a_scan_is_complete_only_once_its_reader_says_so():
    assert not ListScan([NUMBER]).is_complete


def test_absence_takes_two_scans():
    assert find(look([OLDER])).finding is ListFinding.MISSED
    assert find(look([OLDER]), missed=True).finding is ListFinding.ABSENT


def test_a_list_that_is_not_whole_finds_but_never_proves_absence():
    assert find(look([entry("a")]), absence_provable=False).finding is ListFinding.FOUND
    assert find(look([]), missed=True, absence_provable=False).finding is ListFinding.MISSED
    assert find(look([OLDER]), missed=True, absence_provable=False).finding is ListFinding.MISSED


def test_entries_on_the_pages_that_answered_are_found():
    assert find(look([entry("a")], complete=False)).finding is ListFinding.FOUND


def test_another_number_as_the_sender_does_not_match():
    assert matches_message(entry("a", sender="+919800000009"), TEXT, "919800000009")
    assert not matches_message(entry("a", sender="919800000008"), TEXT, "919800000009")


def test_scans_become_rarer_from_the_third_on():
    assert [next_scan_delay_s(n, 300) for n in range(1, 7)] == [300, 600, 1200, 2400, 3600, 3600]


# --- A provider that accepts at random ----------------------------------------------------


@dataclass
class Request:
    """A request of ours; only the provider knows which recipients it accepted."""

    text: str
    begun: int
    #: number → whether it was accepted, when its entry was made, and whether its text was altered.
    recipients: dict
    #: answered: with ids, without ids, or not at all.
    answer: str
    found: dict = field(default_factory=dict)
    missed: set = field(default_factory=set)
    absent: set = field(default_factory=set)


_NUMBERS = st.integers(1, 3)
_FATES = st.tuples(st.booleans(), st.integers(0, 30), st.booleans())
_REQUESTS = st.builds(
    Request,
    text=st.sampled_from("AB"),
    begun=st.integers(0, 200),
    recipients=st.dictionaries(_NUMBERS, _FATES, min_size=1, max_size=3),
    answer=st.sampled_from(["ids", "ids", "no ids", "none", "none"]),
)
_FOREIGN = st.tuples(_NUMBERS, st.sampled_from("ABC"), st.integers(-100, 260))


class World:
    """The provider's list, and what our store would know about it."""

    def __init__(self, requests, foreign, dated):
        self.requests = requests
        self.held, self.nameless = defaultdict(set), defaultdict(list)
        self.answered = {}
        made = []
        for index, request in enumerate(requests):
            for number, (accepted, delay, altered) in request.recipients.items():
                if not accepted and request.answer == "none":
                    continue
                message_id = f"{index}-{number}"
                # The answer says that all were accepted, so all have entries.
                made.append((request.begun + delay, message_id, number, request.text, altered))
                if request.answer == "ids":
                    self.held[number].add(message_id)
                    self.answered[message_id] = at(request.begun + 31)
                elif request.answer == "no ids":
                    self.nameless[number].append(request.begun)
        for index, (number, text, seconds) in enumerate(foreign):
            made.append((seconds, f"x{index}", number, text, False))
        made.sort(reverse=True)
        self.entries = [
            entry(
                message_id,
                number,
                text=text + (" altered" if altered else ""),
                seconds=seconds if dated else None,
            )
            for seconds, message_id, number, text, altered in made
        ]

    def look(self, page_size, hidden, broken_after):
        """Scan the list as the worker does, and apply the decisions."""
        doubtful = [r for r in self.requests if r.answer == "none"]
        open_ = {n for r in doubtful for n in r.recipients}
        seen, entries = ListScan(open_), self.entries[: len(self.entries) - hidden or None]
        oldest = at(min((r.begun for r in doubtful), default=0))
        for number, first in enumerate(range(0, max(1, len(entries)), page_size)):
            if number == broken_after:
                break
            page = ListPage(entries=tuple(entries[first : first + page_size]), next_page=None)
            seen.add_page(page, self.answered)
            if seen.reaches_back_to(oldest) or first + page_size >= len(entries):
                seen.is_complete = True
                break
        for request in sorted(doubtful, key=lambda r: r.begun):
            self.settle(request, seen)

    def settle(self, request, seen):
        left = [
            n for n in request.recipients if n not in request.found | dict.fromkeys(request.absent)
        ]
        said = decide_doubts(
            [
                Doubt(seq=n, msisdn=n, text=request.text, was_missed=n in request.missed)
                for n in left
            ],
            begun_at=at(request.begun),
            sender=SENDER,
            scan=seen,
            others={n: self.standing(n, request) for n in left},
            absence_provable=True,
        )
        for one in said:
            if one.finding is ListFinding.FOUND:
                request.found[one.seq] = one.entry.provider_message_id
            elif one.finding is ListFinding.ABSENT:
                request.absent.add(one.seq)
            request.missed.discard(one.seq)
            if one.finding is ListFinding.MISSED:
                request.missed.add(one.seq)

    def standing(self, number, request):
        matched = {r.found[number] for r in self.requests if number in r.found}
        return OtherMessages(
            answered_ids=frozenset(self.held[number]),
            matched_ids=frozenset(matched),
            without_id=len(self.nameless[number]),
        )


@settings(max_examples=150, deadline=None)
@given(
    requests=st.lists(_REQUESTS, min_size=1, max_size=6),
    foreign=st.lists(_FOREIGN, max_size=4),
    dated=st.booleans(),
    looks=st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(1, 20)), min_size=1, max_size=4
    ),
)
def test_nobody_accepted_is_ever_absent_and_no_id_is_used_twice(requests, foreign, dated, looks):
    world = World(requests, foreign, dated)
    for page_size, hidden, broken_after in looks:
        world.look(page_size, hidden, broken_after)
    used = [message_id for r in requests for message_id in r.found.values()]
    assert len(used) == len(set(used))
    assert not set(used) & {message_id for ids in world.held.values() for message_id in ids}
    for request in requests:
        accepted = {n for n, (yes, _, _) in request.recipients.items() if yes}
        assert not request.absent & accepted


@settings(max_examples=80, deadline=None)
@given(requests=st.lists(_REQUESTS, min_size=1, max_size=5), dated=st.booleans())
def test_with_a_complete_and_correct_list_nobody_stays_in_doubt(requests, dated):
    for number, request in enumerate(requests):
        # Each request has numbers and a text of its own, and nothing is altered.
        request.recipients = {
            n + 10 * number: (accepted, delay, False)
            for n, (accepted, delay, _) in request.recipients.items()
        }
        request.begun += 100
        if request.answer == "no ids":
            request.answer = "ids"
    before = Request(text="A", begun=0, recipients={1000: (True, 0, False)}, answer="ids")
    world = World([*requests, before], [], dated)
    for _ in range(2):
        world.look(2, 0, 1000)
    for request in requests:
        if request.answer == "none":
            accepted = {n for n, (yes, _, _) in request.recipients.items() if yes}
            assert set(request.found) == accepted
            assert request.absent == set(request.recipients) - accepted
