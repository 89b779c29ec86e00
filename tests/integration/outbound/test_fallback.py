"""Fallback in the store: pending messages move to a healthy account's batches, none is lost."""

import csv
import io
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dispatcher.campaigns.export import write_export
from dispatcher.errors import Refused
from dispatcher.outbound.fallback import (
    _batch_limits,
    _explain_move,
    _is_healthy,
    _is_out,
    find_campaigns_to_move,
    move_campaign,
)
from dispatcher.outbound.release import release_batches
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.routes import AccountRoute, route_at
from dispatcher.status import BatchState, CampaignState, MessageState
from dispatcher.store import (
    accounts,
    campaign_search,
    campaigns,
    decisions,
    fallback_moves,
    locked_attempts,
    lost_batches,
)
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, MESSAGE, SOURCE_ROWS
from dispatcher.submission.acceptance import accept_import
from dispatcher.submission.campaign_import import import_rows
from dispatcher.submission.fallback_check import check_fallback
from dispatcher.types import Recipient, Route
from tests.support.stores import (
    LEASE,
    NOW,
    FakeProvider,
    add_account,
    audit,
    batch_of,
    begin,
    campaign_of,
    change,
    claim,
    claimed,
    close,
    counts_of,
    ignore,
    interrupt,
    later,
    order,
    provider,
    queued,
    ready,
    rows,
    settings,
    settle,
    states,
    submitting,
    verdict,
)


class CommaList(FakeProvider):
    """A provider that takes one text per request."""

    capabilities = replace(FakeProvider.capabilities, personal_texts=False, max_recipients=4)


MAIN = provider(sender="SENDER", country="IN", max_recipients=6)
CONFIGURED = {"main": settings(fallback_after_s=60), "backup": settings(fallback_after_s=60)}
BACKUP = AccountRoute("backup", Route(sender="OTHER"))


def people(count):
    return "phone,name\n" + "".join(f"98000000{i:02d},N{i}\n" for i in range(count))


def campaign(store, count=12, *, text="Hello", legs=(BACKUP,), main=MAIN, **values):
    """A running campaign at `main` with the fallback `backup`."""
    for name in ("main", *(leg.account for leg in legs)):
        add_account(store, name)
    with ready(order(people(count), text=text, **values), main) as checked:
        imported = import_rows(store, replace(checked, fallbacks=legs), ignore)
    accept_import(store, imported)
    campaign_id = imported.job.campaign_id
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=CampaignState.RUNNING)
    return campaign_id


def pause(store, name="main"):
    with store.write() as conn:
        accounts.pause_account(conn, name, by="credit", reason="SMS Credits Not Available", now=NOW)


def moved(store, campaign_id, backup=None, *, configured=CONFIGURED, now=NOW):
    adapters = {"main": MAIN, "backup": backup or provider(max_recipients=4)}
    with store.read() as conn:
        if campaign_id not in find_campaigns_to_move(conn, configured, now):
            return None
    with store.write() as conn:
        return move_campaign(conn, campaign_id, configured, adapters.__getitem__, now)


def waiting(store):
    """(account, first seq, size, pending, requests) of the batches that wait."""
    where = BATCH.c.state == BatchState.PENDING
    return [
        (b.account, b.first_seq, b.size, b.pending, b.requests)
        for b in rows(store, BATCH, where, order_by=[BATCH.c.first_seq])
    ]


def exported(store, campaign_id):
    out = io.StringIO()
    write_export(store, campaign_of(store, campaign_id), out)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


def assert_ranges_are_whole(store, campaign_id, count):
    """Every seq belongs to exactly one batch, and the export has every row with its own cells."""
    found = rows(store, BATCH, BATCH.c.campaign_id == campaign_id)
    seqs = sorted(s for b in found for s in range(b.first_seq, b.first_seq + b.size))
    assert seqs == list(range(count))
    lines = exported(store, campaign_id)
    assert [line["row"] for line in lines] == [str(i) for i in range(2, count + 2)]
    assert [line["name"] for line in lines] == [f"N{i}" for i in range(count)]


def test_all_pending_messages_move_in_one_transaction_into_batches_of_the_other_account(store):
    made = campaign(store)
    assert waiting(store) == [("main", 0, 6, 6, 1), ("main", 6, 6, 6, 1)]
    assert moved(store, made) is None  # the account is open
    pause(store)
    assert moved(store, made).account == "backup"
    assert waiting(store) == [
        ("backup", 0, 4, 4, 1),
        ("backup", 4, 4, 4, 1),
        ("backup", 8, 4, 4, 1),
    ]
    assert moved(store, made) is None
    now_at = campaign_of(store, made)
    assert now_at.account == "backup"
    assert route_at(now_at, "backup").sender == "OTHER"
    assert route_at(now_at, "main").sender == "SENDER"
    with store.read() as conn:
        (entry,) = fallback_moves.load_fallback_history(conn, made)
        assert campaign_search.count_batches(conn, made)["replaced"] == 2
    assert "12 pending messages go from main to backup: main is paused (credit)" in entry.detail
    assert counts_of(store, made) == {"pending": 12}
    assert_ranges_are_whole(store, made, 12)


def test_a_move_changes_nothing_of_a_campaign_that_waits_beside_it(sqlite_store):
    """Both have batches, messages and cells with the same places; a text of mine is too long."""
    store = sqlite_store
    other, mine = campaign(store, 13, text="Hello"), campaign(store, 8, text="Hi {{name}}")
    with store.write() as conn:
        is_long = (MESSAGE.c.campaign_id == mine) & (MESSAGE.c.seq == 1)
        change(conn, MESSAGE, is_long, parts=3)
    pause(store)
    tables = (CAMPAIGN.c.id, BATCH.c.campaign_id, MESSAGE.c.campaign_id, SOURCE_ROWS.c.campaign_id)
    before = [rows(store, key.table, key == other) for key in tables]
    assert moved(store, mine, provider(max_recipients=4, max_parts=2)).account == "backup"
    assert [rows(store, key.table, key == other) for key in tables] == before
    assert counts_of(store, mine) == {"pending": 7, "failed": 1}
    assert_ranges_are_whole(store, mine, 8)
    seqs = sorted(batch.seq for batch in rows(store, BATCH, BATCH.c.campaign_id == mine))
    assert seqs == [*range(len(seqs))]


def test_small_batches_become_large_ones(store):
    made = campaign(store, 12, main=provider(sender="SENDER", country="IN", max_recipients=1))
    pause(store)
    moved(store, made, provider(max_recipients=10))
    assert waiting(store) == [("backup", 0, 10, 10, 1), ("backup", 10, 2, 2, 1)]
    assert_ranges_are_whole(store, made, 12)


def test_personal_texts_are_split_for_a_provider_of_one_text_per_request(store):
    made = campaign(store, 6, text="Dear {{name}}")
    pause(store)
    moved(store, made, CommaList(settings(messages_per_second=2)))
    assert waiting(store) == [
        ("backup", 0, 2, 2, 2), ("backup", 2, 2, 2, 2), ("backup", 4, 2, 2, 2),
    ]  # fmt: skip


def test_only_the_account_of_the_moment_releases_the_campaign(store):
    made = campaign(store)
    pause(store)
    moved(store, made)
    with store.write() as conn:
        accounts.resume_account(conn, "main", actor="operator", now=NOW)
        assert release_batches(conn, "main", CONFIGURED["main"], NOW) == []
        tickets = release_batches(conn, "backup", CONFIGURED["backup"], NOW)
    assert {ticket.account for ticket in tickets} == {"backup"}


def test_a_ticket_of_a_batch_that_moved_is_worthless(store):
    made = campaign(store)
    (ticket,) = queued(store)
    pause(store)
    moved(store, made)
    assert claim(store, ticket) is None
    assert len(waiting(store)) == 3


def test_batches_in_flight_stay_and_move_once_they_are_pending_again(store):
    made = campaign(store)
    held, (attempt,) = submitting(store)
    pause(store)
    moved(store, made)
    assert {b[0] for b in waiting(store)} == {"backup"}
    assert batch_of(store, held.id).state == BatchState.SUBMITTING
    settle(store, held, attempt, verdict())  # nothing was accepted
    assert close(store, held, error="no credit") is BatchState.PENDING
    assert moved(store, made).account == "backup"
    assert {(b[0], b[2]) for b in waiting(store)} == {("backup", 4), ("backup", 2)}
    assert rows(store, ATTEMPT)[0].account == "main"
    assert_ranges_are_whole(store, made, 12)


@pytest.mark.parametrize(
    ("begun", "after"),
    [
        ([0, 1], [("backup", 2, 4, 4, 1)]),
        ([4, 5], [("backup", 0, 4, 4, 1)]),
        ([2], [("backup", 0, 2, 2, 1), ("backup", 3, 3, 3, 1)]),
        ([0, 5], [("backup", 0, 6, 4, 1)]),
    ],
)
def test_a_partly_settled_batch_is_split_and_settled_messages_stay(store, begun, after):
    made = campaign(store, 6)
    held = claimed(store)
    (attempt,) = begin(store, held, [begun])
    settle(store, held, attempt, verdict(accepted=begun))
    assert close(store, held) is BatchState.PENDING
    pause(store)
    moved(store, made)
    assert waiting(store) == after
    kept = batch_of(store, held.id)
    assert kept.submitted == len(begun)
    assert counts_of(store, made) == {"pending": 6 - len(begun), "submitted": len(begun)}
    assert_ranges_are_whole(store, made, 6)
    accounts_of = {int(line["seq"]): line["account"] for line in exported(store, made)}
    assert all(accounts_of[seq] == ("main" if seq in begun else "backup") for seq in range(6))


def test_doubtful_recipients_stay_until_a_person_decides(store):
    made = campaign(store, 6)
    held = claimed(store)
    (attempt,) = begin(store, held, [[0, 1]])
    settle(store, held, attempt, verdict(doubtful=[0, 1]))
    close(store, held)
    pause(store)
    moved(store, made)
    assert states(store) == ["in_doubt", "in_doubt", *["pending"] * 4]
    assert batch_of(store, held.id).account == "main"
    with store.write() as conn:  # a person says resend
        case = locked_attempts.lock_attempt(conn, attempt)
        noted = [decisions.AnnotatedMessage(seq, 0) for seq in (0, 1)]
        decisions.return_to_pending(conn, case, noted, failed_after=None, now=NOW)
    assert moved(store, made).account == "backup"
    assert counts_of(store, made) == {"pending": 6}
    assert {b[0] for b in waiting(store)} == {"backup"}
    assert_ranges_are_whole(store, made, 6)


def test_a_message_that_was_moved_to_be_resent_is_not_sent_again_after_a_late_acceptance(store):
    made = campaign(store, 6)
    held = claimed(store)
    (attempt,) = begin(store, held)
    with store.write() as conn:
        lost_batches.doubt_expired_submissions(conn, NOW + LEASE * 2)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        noted = [decisions.AnnotatedMessage(seq, DoubtNote.RESENT) for seq in range(5)]
        decisions.return_to_pending(conn, case, noted, failed_after=None, now=NOW)
    pause(store)
    moved(store, made)
    settle(store, held, attempt, verdict(accepted=range(6)))
    assert states(store) == ["submitted"] * 6
    assert counts_of(store, made) == {"submitted": 6, "no_receipt": 5}
    assert waiting(store) == []
    assert "late acceptance" not in audit(store)


def test_a_text_over_the_other_accounts_limits_fails_with_the_reason(store):
    made = campaign(store, 3, text="Dear {{name}} " + "x" * 150)
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 1, parts=3)
    pause(store)
    moved(store, made, provider(max_recipients=4, max_parts=2))
    assert states(store) == ["pending", "failed", "pending"]
    (failed,) = rows(store, MESSAGE, MESSAGE.c.state == MessageState.FAILED)
    assert "the fallback account allows 2" in failed.error
    assert failed.final_at == NOW
    assert counts_of(store, made) == {"pending": 2, "failed": 1}


def test_a_batch_of_which_no_message_can_move_is_settled(store):
    made = campaign(store, 3)
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.campaign_id == made, parts=3)
    pause(store)
    moved(store, made, provider(max_parts=2))
    found = rows(store, BATCH, order_by=[BATCH.c.id])
    assert [row.state for row in found] == [BatchState.REPLACED, BatchState.SETTLED]
    assert counts_of(store, made) == {"failed": 3}
    with store.write() as conn:
        assert campaigns.finish_campaigns(conn, NOW) == [made]


@pytest.mark.parametrize(
    ("broken", "now", "goes"),
    [
        ({"breaker": "open", "breaker_at": NOW}, later(59), False),
        ({"breaker": "open", "breaker_at": NOW}, later(60), True),
        ({"paused_by": "operator"}, NOW, True),
    ],
)
def test_a_campaign_moves_when_its_account_is_paused_or_has_failed_for_long(
    store, broken, now, goes
):
    made = campaign(store)
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **broken)
    assert (moved(store, made, now=now) is not None) is goes


def test_an_unhealthy_fallback_is_skipped_and_without_a_healthy_one_the_campaign_waits(store):
    made = campaign(store, legs=(BACKUP, AccountRoute("third", Route(sender="THIRD"))))
    pause(store)
    pause(store, "backup")
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "third", breaker="open", breaker_at=NOW)
    configured = CONFIGURED | {"third": settings()}
    assert moved(store, made, configured=configured) is None
    assert campaign_of(store, made).account == "main"
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "third", breaker=None)
    with store.write() as conn:
        said = move_campaign(conn, made, configured, lambda _name: provider(), NOW)
    assert said.account == "third"


def test_a_campaign_comes_back_when_the_fallback_fails_and_its_own_account_is_healthy(store):
    made = campaign(store)
    pause(store)
    moved(store, made)
    pause(store, "backup")
    assert moved(store, made) is None
    with store.write() as conn:
        accounts.resume_account(conn, "main", actor="operator", now=NOW)
    assert moved(store, made).account == "main"
    assert {b[0] for b in waiting(store)} == {"main"}
    assert_ranges_are_whole(store, made, 12)


def test_paused_campaigns_and_those_without_a_fallback_stay(store):
    plain = campaign(store, legs=())
    held = campaign(store, again=True, name="held")
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == held, state=CampaignState.PAUSED)
    pause(store)
    assert moved(store, plain) is None
    assert moved(store, held) is None


def test_cancelling_afterwards_ends_everything(store):
    made = campaign(store)
    pause(store)
    moved(store, made)
    with store.write() as conn:
        campaigns.change_state(
            conn, made, [CampaignState.RUNNING], CampaignState.CANCELLED,
            actor="operator", reason=None, now=NOW,
        )  # fmt: skip
        assert campaigns.end_waiting_batches(conn, made, MessageState.CANCELLED, NOW) == 12
    assert counts_of(store, made) == {"cancelled": 12}


# --- What is checked at submission ------------------------------------------------------------


def leg(adapter, *, text="Hello", **values):
    with ready(order(people(2), text=text, **values), MAIN) as checked:
        return check_fallback(
            checked, "backup", adapter, lambda requested: adapter.resolve_route(requested, None)
        )


def test_a_fallback_has_its_own_sender_else_the_campaigns():
    assert leg(provider(sender="OWN"), sender="GIVEN").route.sender == "OWN"
    assert leg(provider(), sender="GIVEN").route.sender == "GIVEN"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "fallback account backup: this account has no sender"),
        ({"sender": "OWN", "max_parts": 1}, "fallback account backup: the text has 2 parts"),
    ],
)
def test_a_fallback_that_could_not_send_the_campaign_is_refused_with_the_reason(values, words):
    with pytest.raises(Refused, match=words):
        leg(provider(**values), text="x" * 200)


@pytest.mark.parametrize(
    ("text", "values", "requests"),
    [
        ("Hi", {}, 1),
        ("Hi {{name}}", {}, 2),
        ("Hi", {"template_columns": ("name",)}, 3),
    ],
)
def test_requests_of_a_batch_are_counted_as_the_other_account_takes_them(
    sqlite_store, text, values, requests
):
    """One text for all, one request per text, or one per recipient where a template is filled."""
    made = campaign_of(sqlite_store, campaign(sqlite_store, 3, text=text))._replace(**values)
    limits = _batch_limits(CommaList(provider(max_parts=2).settings), made)
    people = [Recipient(seq, 919_800_000_000 + seq, "ABB"[seq]) for seq in range(3)]
    assert limits.requests_of(people) == requests
    assert (limits.max_parts is None) is bool(values)


@pytest.mark.parametrize(
    ("sizes", "count"), [([], 0), ([20_001, 1], 1), ([1, 19_999, 1], 2), ([1, 20_000], 1)]
)
def test_a_transaction_moves_some_twenty_thousand_messages_and_always_one_batch(sizes, count):
    waiting = [SimpleNamespace(size=size) for size in sizes]
    assert len([*fallback_moves._take_group(waiting)]) == count


def test_only_running_campaigns_with_a_fallback_are_looked_at(store):
    made = campaign(store)
    with store.write() as conn:
        assert [each.id for each in fallback_moves.list_with_fallback(conn)] == [made]
        change(conn, CAMPAIGN, CAMPAIGN.c.id == made, state=CampaignState.PAUSED)
        assert fallback_moves.list_with_fallback(conn) == []
        change(conn, CAMPAIGN, CAMPAIGN.c.id == made, state=CampaignState.RUNNING)
        change(conn, BATCH, BATCH.c.campaign_id == made, state=BatchState.SETTLED)
        assert fallback_moves.list_with_fallback(conn) == []  # it has nothing left to move
        change(conn, BATCH, BATCH.c.campaign_id == made, state=BatchState.PENDING)


@pytest.mark.parametrize("left", ["main", "backup"])
def test_a_campaign_does_not_move_from_or_to_an_account_that_is_not_configured_any_more(
    store, left
):
    made = campaign(store)
    pause(store)
    assert moved(store, made, configured={left: CONFIGURED[left]}) is None
    assert campaign_of(store, made).account == "main"


def test_a_campaign_that_is_paused_just_before_it_is_locked_does_not_move(sqlite_store):
    made = campaign(sqlite_store)
    pause(sqlite_store)
    before = waiting(sqlite_store)
    with sqlite_store.write() as conn:
        paused = {"state": CampaignState.PAUSED}
        interrupt(conn, "routes", lambda: change(conn, CAMPAIGN, CAMPAIGN.c.id == made, **paused))
        assert move_campaign(conn, made, CONFIGURED, lambda _name: provider(), NOW) is None
        assert move_campaign(conn, made + 1, CONFIGURED, lambda _name: provider(), NOW) is None
    assert waiting(sqlite_store) == before


def account(**values):
    usual = {
        "name": "main",
        "breaker": None,
        "breaker_at": None,
        "paused_by": None,
        "check_at": None,
    }
    stopped = {"stopped_at": None, "is_closed": False, "pause_reason": None}
    return SimpleNamespace(**(usual | stopped | values))


@pytest.mark.parametrize(
    ("row", "is_healthy"),
    [
        (None, False),
        (account(), True),
        (account(is_closed=True), False),
        (account(breaker="trial"), False),
    ],
)
def test_which_accounts_take_a_campaign(row, is_healthy):
    assert _is_healthy(row) is is_healthy


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, "it is no longer in the store"),
        (account(), "it is unavailable"),
        (account(paused_by="me", pause_reason="so"), "main is paused (me): so"),
    ],
)
def test_why_a_campaign_moves_is_said(row, words):
    assert _explain_move(row) == words


def test_an_account_that_the_store_does_not_know_is_not_out():
    assert not _is_out("main", {}, CONFIGURED, NOW)
    assert _is_out("main", {"main": account(paused_by="me")}, CONFIGURED, NOW)
    assert not _is_out("main", {"main": account(paused_by="me")}, {}, NOW)
