"""What one look at a provider's list, and the campaign's rule, do to a recipient in doubt."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from dispatcher.campaigns import resolution
from dispatcher.campaigns.resolution import DoubtChoice
from dispatcher.policy.reconciliation import DoubtNote, ListScan
from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store import doubts
from dispatcher.store.decisions import AnnotatedMessage
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ATTEMPT, MESSAGE
from dispatcher.types import ListedMessage, ListPage
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    FakeProvider,
    add_campaign,
    attempt_of,
    audit,
    begin,
    change,
    claimed,
    close,
    later,
    rows,
    settings,
    settle,
    submitting,
    verdict,
)
from workers.lists.doubt import UNREADABLE, _is_scanning_useless, _next_delay_s, settle_doubt

SERVICES = SimpleNamespace(
    settings=SimpleNamespace(worker=SimpleNamespace(reconcile_after_s=300)),
)
MISSED, UNEXPLAINED, FOUND, ABSENT = 1, 2, 4, 8
RESENT, DROPPED = 16, 64


def listed(message_id, msisdn=FIRST_NUMBER, text="Hello"):
    return ListedMessage(
        provider_message_id=message_id, msisdn=msisdn, text=text, sender="SENDER",
        state=MessageState.SUBMITTED, raw="Enroute",
    )  # fmt: skip


SHOWN = {"nothing": [], "its entry": [listed("a")], "an altered one": [listed("a", text="Hi")]}


def provider_with(able):
    """`able`: whether there is a list, and it is complete."""
    has_list, is_provable = able
    provider = FakeProvider(settings(max_attempts=3))
    provider.capabilities = replace(
        provider.capabilities, lists_accepted=has_list, absence_provable=is_provable
    )
    return provider


def look(store, **values):
    """Look once for the first of two recipients; its state, its note, and when it is looked for."""
    return look_and_tell(store, **values)[:3]


def look_and_tell(
    store,
    *,
    rule,
    able,
    looks,
    note,
    shown,
    is_held=False,
    start=None,
    is_whole=True,
    doubted_for_s=0,
):
    """As `look`, and the sentence for the log. `is_held`: a worker still holds the batch."""
    add_campaign(store, [2], on_doubt=rule, schedule_at=start)
    held, (attempt, other) = submitting(store, [[0], [1]])
    settle(store, held, attempt, verdict(doubtful=[0], outcome=AttemptOutcome.DOUBTFUL))
    if not is_held:
        settle(store, held, other, verdict(accepted=[1]))
        close(store, held)
    scan = ListScan({FIRST_NUMBER})
    page = ListPage(entries=(*SHOWN[shown], listed("older", 1)), next_page=None)
    scan.add_page(page, {"older": NOW - timedelta(hours=1)})
    scan.is_complete = is_whole
    provider = provider_with(able)
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 0, note=note)
        since = store_now(conn) - timedelta(seconds=doubted_for_s)
        change(
            conn, ATTEMPT, ATTEMPT.c.id == attempt, looks=looks, reconcile_at=NOW, doubt_at=since
        )
        doubtful = doubts.load_doubtful(conn, attempt)
        told = settle_doubt(SERVICES, conn, provider, doubtful, scan)
        now = store_now(conn)
    message, row = rows(store, MESSAGE)[0], attempt_of(store, attempt)
    assert row.looks == looks + is_whole  # what was not read does not count
    wait_s = None if row.reconcile_at is None else (row.reconcile_at - now).total_seconds()
    return message.state, message.note, wait_s, told


LIST, PARTIAL, NO_LIST = (True, True), (True, False), (False, False)


@pytest.mark.parametrize(
    ("rule", "able", "looks", "note", "shown", "ends"),
    [
        ("hold", LIST, 0, 0, "nothing", ("in_doubt", MISSED, "later")),
        ("hold", LIST, 1, MISSED, "nothing", ("pending", ABSENT, None)),
        ("hold", LIST, 1, MISSED | RESENT, "nothing", ("pending", ABSENT | RESENT, None)),
        ("hold", LIST, 0, 0, "its entry", ("submitted", FOUND, None)),
        ("hold", LIST, 0, RESENT, "its entry", ("submitted", FOUND | RESENT, None)),
        ("hold", LIST, 1, MISSED, "an altered one", ("in_doubt", UNEXPLAINED, "later")),
        ("hold", LIST, 5, 0, "an altered one", ("in_doubt", UNEXPLAINED, None)),
        ("drop", LIST, 5, 0, "an altered one", ("in_doubt", UNEXPLAINED, None)),
        ("resend", LIST, 5, 0, "an altered one", ("in_doubt", UNEXPLAINED, None)),
        ("drop", LIST, 4, 0, "nothing", ("in_doubt", MISSED, "later")),
        ("drop", LIST, 5, 0, "nothing", ("failed", MISSED | DROPPED, None)),
        ("resend", LIST, 1, 0, "nothing", ("in_doubt", MISSED, "later")),
        ("resend", PARTIAL, 0, 0, "nothing", ("in_doubt", MISSED, "later")),
        ("resend", PARTIAL, 1, MISSED, "nothing", ("pending", RESENT, None)),
        ("resend", PARTIAL, 1, MISSED, "an altered one", ("in_doubt", UNEXPLAINED, "later")),
        ("hold", PARTIAL, 1, MISSED, "nothing", ("in_doubt", MISSED, None)),
        ("hold", NO_LIST, 0, 0, "nothing", ("in_doubt", MISSED, None)),
        ("drop", NO_LIST, 0, 0, "nothing", ("failed", MISSED | DROPPED, None)),
        ("resend", NO_LIST, 0, 0, "nothing", ("pending", RESENT, None)),
        ("resend", NO_LIST, 0, RESENT, "nothing", ("in_doubt", MISSED | RESENT, None)),
        ("drop", NO_LIST, 0, RESENT, "nothing", ("failed", MISSED | RESENT | DROPPED, None)),
    ],
)
def test_a_look_and_the_rule_decide_about_a_recipient(
    sqlite_store, rule, able, looks, note, shown, ends
):
    state, said, wait_s = look(
        sqlite_store, rule=rule, able=able, looks=looks, note=note, shown=shown
    )
    assert (MessageState(state).label, DoubtNote(said)) == (ends[0], DoubtNote(ends[1]))
    assert (wait_s is None) is (ends[2] is None)
    assert wait_s is None or wait_s > 60


@pytest.mark.parametrize(
    ("given", "words", "actions"),
    [
        ({}, "1 still in doubt", []),
        ({"looks": 5}, "1 still in doubt", []),
        ({"shown": "its entry"}, "1 found, 0 still in doubt", ["doubt found"]),
        (
            {"looks": 1, "note": MISSED},
            "1 absent, pending, 0 still in doubt",
            ["doubt absent, pending"],
        ),
        (
            {"rule": "drop", "able": NO_LIST},
            "1 dropped, 0 still in doubt",
            ["doubt dropped"],
        ),
        (
            {"rule": "resend", "able": NO_LIST},
            "1 resent, pending, 0 still in doubt",
            ["doubt resent, pending"],
        ),
        ({"is_whole": False, "doubted_for_s": 80_000}, "1 still in doubt", []),
        ({"is_whole": False, "doubted_for_s": 90_000}, f"{UNREADABLE}, 1 still in doubt", []),
        ({"looks": 5, "doubted_for_s": 90_000}, "1 still in doubt", []),
    ],
)
def test_what_came_of_a_look_is_told_and_what_was_decided_is_on_record(
    sqlite_store, caplog, given, words, actions
):
    usual = {"rule": "hold", "able": LIST, "looks": 0, "note": 0, "shown": "nothing"}
    assert look_and_tell(sqlite_store, **(usual | given))[3] == words
    assert audit(sqlite_store) == actions
    is_alarm = UNREADABLE in words
    assert [UNREADABLE in said for said in caplog.messages] == [True] * is_alarm


@pytest.mark.parametrize(
    ("rule", "able", "note", "ends"),
    [
        ("hold", LIST, MISSED, ("in_doubt", MISSED)),
        ("hold", LIST, MISSED | RESENT, ("in_doubt", MISSED | RESENT)),
        ("resend", NO_LIST, 0, ("in_doubt", MISSED)),
        ("drop", NO_LIST, 0, ("failed", MISSED | DROPPED)),
    ],
)
def test_nobody_is_made_pending_while_a_worker_holds_the_batch(
    sqlite_store, rule, able, note, ends
):
    """What is decided is done at the next look, a few seconds later."""
    state, said, wait_s = look(
        sqlite_store, rule=rule, able=able, looks=1, note=note, shown="nothing", is_held=True
    )
    assert (MessageState(state).label, DoubtNote(said)) == (ends[0], DoubtNote(ends[1]))
    assert wait_s is None if ends[0] == "failed" else 0 < wait_s < 60


@pytest.mark.parametrize(("rule", "state"), [("resend", "in_doubt"), ("drop", "failed")])
def test_what_the_provider_sends_at_a_later_time_is_not_resent(sqlite_store, rule, state):
    found, _note, _wait_s = look(
        sqlite_store, rule=rule, able=NO_LIST, looks=0, note=0, shown="nothing", start=later(60)
    )
    assert MessageState(found).label == state


@pytest.mark.parametrize(("rule", "looks"), [("hold", 1), ("drop", 5), ("resend", 5), ("drop", 6)])
def test_what_is_known_is_kept_where_a_look_was_cut_short(sqlite_store, rule, looks):
    """It says nothing, so no rule is followed either."""
    state, note, wait_s = look(
        sqlite_store, rule=rule, able=LIST, looks=looks, note=MISSED | RESENT, shown="nothing",
        is_whole=False,
    )  # fmt: skip
    assert (MessageState(state).label, note) == ("in_doubt", MISSED | RESENT)
    assert wait_s > 60


def in_doubt_again(store, *, account="main"):
    """The answer to a request is lost, a person resends at once, and so is the next answer."""
    campaign_id = add_campaign(store, [1])
    for start in (0, 100):
        held = claimed(store, now=later(start))
        (attempt,) = begin(store, held, now=later(start))
        said = verdict(doubtful=[0], outcome=AttemptOutcome.DOUBTFUL)
        settle(store, held, attempt, said, now=later(start + 1))
        close(store, held, now=later(start + 1))
        if not start:
            resolution.resolve_doubts(store, str(campaign_id), DoubtChoice.RESEND)
            with store.write() as conn:
                change(conn, ATTEMPT, ATTEMPT.c.id == attempt, account=account)
    return attempt


@pytest.mark.parametrize(
    ("shown", "first_account", "became"),
    [
        (["between", "first"], "main", ("submitted", FOUND | RESENT, "first")),
        (["second", "between", "first"], "main", ("submitted", FOUND | RESENT, "second")),
        (["between"], "main", ("in_doubt", MISSED | RESENT, None)),
        # The first request was another account's, so the entry is of another message.
        (["between", "first"], "other", ("in_doubt", UNEXPLAINED | RESENT, None)),
    ],
)
def test_who_was_resent_is_found_by_the_entry_of_either_request(
    store, shown, first_account, became
):
    doubtful = in_doubt_again(store, account=first_account)
    # Another message was answered between both requests: "first" is surely older than the second.
    entries = {
        "first": listed("first"), "second": listed("second"), "between": listed("between", 1),
    }  # fmt: skip
    page = [entries[name] for name in shown] + [listed("older", 1)]
    scan = ListScan({FIRST_NUMBER})
    scan.add_page(
        ListPage(entries=tuple(page), next_page=None),
        {"between": later(50), "older": NOW - timedelta(hours=1)},
    )
    scan.is_complete = True
    with store.write() as conn:
        found = doubts.load_doubtful(conn, doubtful)
        settle_doubt(SERVICES, conn, provider_with(LIST), found, scan)
    row = rows(store, MESSAGE)[0]
    assert (MessageState(row.state).label, row.note, row.provider_message_id) == became


@pytest.mark.parametrize(
    ("able", "scans", "notes", "is_useless"),
    [
        (NO_LIST, 1, [MISSED], True),
        (LIST, 5, [MISSED], False),
        (LIST, 6, [UNEXPLAINED], True),
        (PARTIAL, 1, [MISSED], False),
        (PARTIAL, 2, [MISSED, MISSED | RESENT], True),
        (PARTIAL, 2, [MISSED, UNEXPLAINED], False),
    ],
)
def test_scans_go_on_while_one_of_them_may_show_somebody(able, scans, notes, is_useless):
    has_list, is_provable = able
    capabilities = replace(
        FakeProvider.capabilities, lists_accepted=has_list, absence_provable=is_provable
    )
    left = [AnnotatedMessage(seq, note) for seq, note in enumerate(notes)]
    assert _is_scanning_useless(capabilities, scans, left) is is_useless


@pytest.mark.parametrize(
    ("is_held", "was_read", "since_s", "delay_s"),
    [
        (True, True, 600, 5),
        (True, False, None, 5),
        (False, True, 600, 300),
        (False, False, None, 300),
        (False, False, 600, 300),
        (False, False, 1200, 600),  # tried less often with time
        (False, False, 90_000, None),  # and for a day
    ],
)
def test_the_next_look_comes_the_later_the_longer_the_list_cannot_be_read(
    is_held, was_read, since_s, delay_s
):
    since = None if since_s is None else NOW - timedelta(seconds=since_s)
    case = SimpleNamespace(is_at_provider=is_held, attempt=SimpleNamespace(doubt_at=since))
    assert _next_delay_s(SERVICES, case, 1, NOW, was_read=was_read) == delay_s
