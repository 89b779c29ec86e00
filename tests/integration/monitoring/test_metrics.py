"""What a scrape shows: figures of the store, by few statements, and nothing private."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from dispatcher.campaigns import resolution
from dispatcher.monitoring.ended_campaigns import EndedCampaigns
from dispatcher.status import BatchState, CampaignState, MessageState
from dispatcher.store import accounts, corrections, notice_sources, scheduler, stops
from dispatcher.store.corrections import Correction
from dispatcher.store.engine import Store, store_now
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN
from tests.support import stores
from tests.support.receipts import give_receipts, leased_poll
from tests.support.scraping import Scraper, settings_in

A_SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


@pytest.fixture
def scraper(store, settings):
    return Scraper(store, settings)


def now(store):
    with store.read() as conn:
        return store_now(conn)


def answered(store):
    """A campaign of nine: two delivered, three submitted, one rejected, one in doubt, two left."""
    at = now(store)
    campaign_id = stores.add_campaign(store, (9,))
    held = stores.claimed(store, now=at)
    first, _second = stores.begin(store, held, [list(range(7)), [7, 8]], now=at)
    said = stores.verdict(accepted=range(5), rejected=[5], doubtful=[6], job_id="job")
    stores.settle(store, held, first, said, now=at + 2 * A_SECOND)
    return campaign_id, first


def test_recipients_are_counted_by_account_and_state(store, scraper):
    scraper.read()
    _campaign, first = answered(store)
    give_receipts(store, leased_poll(store, first), {0: "delivered", 1: "delivered"})
    found = scraper.read()
    states = {"delivered": 2, "submitted": 3, "rejected": 1, "in_doubt": 1, "pending": 2}
    assert {state: found["recipients", "main", state] for state in states} == states
    assert found["recipients_submitted_total", "main"] == 5
    assert found["recipients_delivered_total", "main"] == 2
    assert found["campaigns", "main", "running"] == 1
    assert found["doubtful_requests", "main", "program"] == 1


def test_requests_are_counted_once_whatever_the_scrapes(store, scraper):
    answered(store)
    assert scraper.read()["requests_begun_total", "main"] == 0, "counted from the start on"
    answered(store)
    for _scrape in range(3):
        found = scraper.read()
        assert found["requests_begun_total", "main"] == 2
        assert found["request_recipients_total", "main"] == 9
        assert found["requests_total", "answered", "main", "none"] == 1
        assert found["request_duration_seconds_count", "main"] == 1
        assert found["request_duration_seconds_sum", "main"] == pytest.approx(2)
        assert found["request_duration_seconds_bucket", "1.0", "main"] == 0
        assert found["request_duration_seconds_bucket", "2.5", "main"] == 1
        assert found["release_delay_seconds_count", "main"] == 2
        with store.write() as conn:  # the first of them is settled for the next scrape
            earlier = now(store) - 60 * A_SECOND
            stores.change(conn, BATCH, BATCH.c.id > 0, queued_at=earlier)
            stores.change(conn, ATTEMPT, ATTEMPT.c.id > 0, begun_at=earlier)
            stores.change(conn, ATTEMPT, ATTEMPT.c.outcome == 1,
                          begun_at=earlier, ended_at=earlier + 2 * A_SECOND)  # fmt: skip


def test_a_release_delay_stays_counted_when_its_batch_is_released_again(store, scraper):
    """The store keeps the last release only, and a counter that falls counts twice in a rate."""
    scraper.read()

    def begin_and_release(seconds, place):
        stores.add_campaign(store, (1,), first=919_800_000_000 + place)
        stores.submitting(store)
        with store.write() as conn:
            begun = now(store) - 60 * A_SECOND
            last = ATTEMPT.c.id == place
            stores.change(conn, ATTEMPT, last, begun_at=begun)
            stores.change(conn, BATCH, BATCH.c.id == place, queued_at=begun - seconds * A_SECOND)
        shown.append(delays())
        with store.write() as conn:
            stores.change(conn, BATCH, BATCH.c.id == place, queued_at=now(store))
        shown.append(delays())

    def delays():
        found = scraper.read()
        names = ("bucket", "1.0"), ("bucket", "5.0"), ("count",), ("sum",)
        return tuple(found[f"release_delay_seconds_{name}", *le, "main"] for name, *le in names)

    shown = []
    begin_and_release(2, 1)
    begin_and_release(0.5, 2)
    assert shown == [(0, 1, 1, 2)] * 2 + [(1, 2, 2, 2.5)] * 2


@pytest.mark.parametrize(
    ("outcome", "code", "labels"),
    [
        (2, "429", ("refused", "http_429")),
        (3, "503", ("doubtful", "http_5xx")),
        (2, "402", ("refused", "http_4xx")),
        (2, "E1234567890", ("refused", "provider_code")),
        (3, None, ("doubtful", "no_answer")),
    ],
)
def test_errors_have_a_bounded_set_of_labels(store, scraper, outcome, code, labels):
    scraper.read()
    stores.add_campaign(store, (2,))
    _held, (only,) = stores.submitting(store)
    with store.write() as conn:
        stores.change(conn, ATTEMPT, ATTEMPT.c.id == only, outcome=outcome, error_code=code)
    assert scraper.read()["requests_total", "main", *labels] == 1


def test_a_retry_does_not_lower_the_submitted_total(store, scraper, settings):
    campaign_id, first = answered(store)
    absent = ("undelivered", "Absent subscriber", "UnDelivered")
    give_receipts(store, leased_poll(store, first), {0: absent, 1: absent})
    assert scraper.read()["recipients_submitted_total", "main"] == 5
    with store.write() as conn:
        stores.change(conn, BATCH, BATCH.c.id == 1, state=BatchState.PENDING)
    done = resolution.retry_messages(store, str(campaign_id), states=[MessageState.UNDELIVERED])
    assert done.recipients == 2
    assert scraper.read()["recipients_submitted_total", "main"] == 5
    assert Scraper(store, settings).read()["recipients_submitted_total", "main"] == 5


def test_campaigns_that_are_over_are_read_again_only_when_they_change(store):
    at = now(store)
    for place in range(3):
        stores.add_campaign(
            store, (4,), state=CampaignState.FINISHED, finished_at=at, first=919_800_000_000 + place
        )
    ended = EndedCampaigns()

    def sums_read():
        with store.read() as conn:
            return statements_of(lambda: ended.count_recipients(conn, at), "sum(")

    assert len(sums_read()) == 1
    assert sums_read() == []
    with store.write() as conn:
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, finished_at=at + A_SECOND)
    assert len(sums_read()) == 1
    with store.read() as conn:
        assert ended.count_recipients(conn, at)["main"]["pending"] == 12
    with store.write() as conn:
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, finished_at=None)
        stores.change(conn, BATCH, BATCH.c.campaign_id == 2, pending=3, in_doubt=1)
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == 2, finished_at=at + A_SECOND)
    assert len(sums_read()) == 1
    with store.read() as conn:
        counts = ended.count_recipients(conn, at)["main"]
        assert (counts["pending"], counts["in_doubt"]) == (7, 1)
    with store.write() as conn:  # an end of doubt leaves no trace
        stores.change(conn, BATCH, BATCH.c.campaign_id == 2, in_doubt=0, submitted=1)
    assert len(sums_read()) == 1
    assert sums_read() == []
    with store.read() as conn:
        counts = ended.count_recipients(conn, at)["main"]
        assert (counts["pending"], counts["in_doubt"], counts["submitted"]) == (7, 0, 1)
    with store.write() as conn:
        stores.change(conn, BATCH, BATCH.c.campaign_id == 2, pending=4, submitted=0)


def test_a_campaign_that_ends_during_a_scrape_is_counted_once(store, scraper):
    campaign_id = stores.add_campaign(store, (5, 2))
    ends = []

    def end_it(_conn, _cursor, statement, _parameters, _context, _many):
        if "sum(" in statement and not ends:
            ends.append(now(store))
            with store.write() as conn:
                stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, finished_at=ends[0])

    event.listen(Engine, "after_cursor_execute", end_it)
    try:
        assert scraper.read()["recipients", "main", "pending"] == 7
    finally:
        event.remove(Engine, "after_cursor_execute", end_it)
    assert ends, "it has ended meanwhile"
    assert scraper.read()["recipients", "main", "pending"] == 7


def test_what_is_due_can_leave_now(store, scraper):
    campaign_id = stores.add_campaign(store, (5, 2), start_at=now(store) - 90 * A_SECOND)
    with store.write() as conn:
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, started_at=None)
    found = scraper.read()
    assert found["recipients_due", "main"] == 7
    assert found["due_age_seconds", "main"] == pytest.approx(90, abs=30)
    with store.write() as conn:
        accounts.pause_account(conn, "main", by="credit", reason="empty", now=store_now(conn))
    found = scraper.read()
    assert (found["recipients_due", "main"], found["account_open", "main"]) == (0, 0)
    assert found["account_paused", "credit", "main"] == 1
    assert found["account_paused", "main", "operator"] == 0


def test_only_what_could_leave_now_is_due(store, scraper):
    """Campaigns that are alike are asked about together; those that must wait are not counted."""
    at = now(store)
    late = {"started_at": at - 90 * A_SECOND, "created_at": at - 90 * A_SECOND}
    soon, earlier = at + timedelta(hours=1), at - A_SECOND
    for place, (table, values) in enumerate((
        (CAMPAIGN, late),
        (CAMPAIGN, {"expire_at": soon}),
        (CAMPAIGN, {"schedule_at": soon, "expire_at": soon + A_SECOND}),
        (CAMPAIGN, {"schedule_at": soon, "expire_at": soon}),  # too late for the provider
        (CAMPAIGN, {"start_at": soon}),
        (CAMPAIGN, {"expire_at": earlier}),
        (CAMPAIGN, {"paid_until": soon}),  # its own rate
        (BATCH, {"not_before": soon}),
        (BATCH, {"state": BatchState.QUEUED, "queued_at": at}),
    )):  # fmt: skip
        mine = stores.add_campaign(store, (10**place % 7 + 1,), first=919_820_000_000 + 10 * place)
        key = CAMPAIGN.c.id if table is CAMPAIGN else BATCH.c.campaign_id
        with store.write() as conn:
            stores.change(conn, table, key == mine, **values)
    found = scraper.read()
    assert found["recipients_due", "main"] == sum(10**place % 7 + 1 for place in range(3))
    assert found["due_age_seconds", "main"] == pytest.approx(90, abs=30)


def test_work_waits_visibly_for_workers_and_polls(store, scraper):
    stores.add_campaign(store, (5, 2))
    late = now(store) - 40 * A_SECOND
    stores.queued(store, now=late)
    found = scraper.read()
    assert found["batches_in_flight", "main", "queued"] == 1
    assert found["queue_age_seconds", "main"] == pytest.approx(40, abs=30)
    assert (found["polls_due", "main"], found["poll_age_seconds", "main"]) == (0, 0)
    with store.write() as conn:
        batch = stores.batches.claim_batch(conn, 1, 1, stores.later(60))
    (only,) = stores.begin(store, batch)
    stores.settle(store, batch, only, stores.verdict(accepted=range(5), job_id="job"))
    with store.write() as conn:
        stores.change(conn, ATTEMPT, ATTEMPT.c.id == only, poll_at=late)
    found = scraper.read()
    assert found["polls_due", "main"] == 1
    assert found["poll_age_seconds", "main"] == pytest.approx(40, abs=30)


def test_operators_see_stops_ticks_workers_and_corrections(store, scraper):
    stores.add_account(store)
    found = scraper.read()
    assert (found["stopped",], found["workers",]) == (0, 0)
    assert found["tick_age_seconds",] == float("inf")
    with store.write() as conn:
        at = store_now(conn)
        scheduler.begin_tick(conn, timedelta(seconds=25))
        scheduler.record_heartbeat(conn, "worker-1", 12, at)
        corrections.count_corrections(conn, {Correction.CLAIM_LEASE_EXPIRED: 3})
        stops.stop_accounts(conn, None, actor="anna", reason="wrong text", now=at)
    found = scraper.read()
    assert (found["stopped",], found["account_stopped", "main"]) == (1, 1)
    assert (found["workers",], found["worker_threads",]) == (1, 12)
    assert found["tick_age_seconds",] < 30
    assert found["corrections_total", "claim_lease_expired"] == 3
    assert found["store_up",] == 1


def test_accounts_show_breaker_rates_day_and_balance(store, scraper):
    stores.add_account(store)
    with store.write() as conn:
        at = store_now(conn)
        notice_sources.save_balance(conn, "main", '{"transactional": "42.5"}', at)
        stores.change(
            conn, ACCOUNT, ACCOUNT.c.name == "main", breaker="trial", failures=5, day_count=1000,
            day_until=at + timedelta(hours=1), messages_paid_until=at + A_SECOND * 30,
        )  # fmt: skip
    found = scraper.read()
    assert found["account_breaker", "main", "trial"] == 1
    assert found["account_breaker", "closed", "main"] == 0
    assert found["account_failures", "main"] == 5
    assert found["account_rate_limit_per_second", "main", "messages"] == 50
    assert found["account_rate_booked_seconds", "main", "messages"] > 0
    assert (found["account_day_limit", "main"], found["account_day_recipients", "main"]) == (
        1000, 1000,
    )  # fmt: skip
    assert found["account_open", "main"] == 0, "the day is used up"
    assert found["account_balance", "main", "transactional"] == 42.5
    assert found["balance_limit",] == 100
    assert found["account_window_open", "main", "promotional"] == 1


def test_nothing_in_the_labels_is_about_one_campaign_or_person(store, scraper):
    scraper.read()
    stores.add_campaign(store, (3,), name="secret spring", text="Dear 919800000001")
    stores.submitting(store)
    text = scraper.text()
    assert re.findall(r"secret|spring|Dear|9198\d+|SENDER", text) == []
    labels = {
        name for found in re.findall(r"\{(.*?)\}", text) for name in re.findall(r"(\w+)=", found)
    }
    assert labels <= {
        "account", "state", "kind", "unit", "reason", "outcome", "error", "le", "package",
        "decided_by", "revision", "version", "python",
    }  # fmt: skip


def statements_of(work, having="SELECT"):
    seen = []

    def note(_conn, _cursor, statement, _parameters, _context, _many):
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return [statement for statement in seen if having in statement]


def test_statements_do_not_grow_with_campaigns_and_read_no_message(store, settings):
    counts = []
    for campaigns in (2, 12):
        for place in range(campaigns):
            stores.add_campaign(store, (3, 2), first=919_810_000_000 + 100 * place)
        scraper = Scraper(store, settings)
        statements_of(scraper.read)
        seen = statements_of(scraper.read)
        counts.append(len(seen))
        assert [one for one in seen if re.search(r"\bmessage\b", one)] == []
    assert counts[0] == counts[1] < 30


def test_while_the_store_is_away_the_metrics_say_so_and_come_back(tmp_path, sqlite_url, settings):
    path = tmp_path / "store.db"
    store = Store(sqlite_url)
    scraper = Scraper(store, settings)
    assert scraper.read()["store_up",] == 1
    store.close()
    path.rename(tmp_path / "away.db")
    found = scraper.read()
    assert found["store_up",] == 0
    assert not path.exists(), "who only reads makes no file"
    assert {name for name, *_labels in found} == {"store_up", "build_info", "store_read_seconds"}
    (tmp_path / "away.db").rename(path)
    assert scraper.read()["store_up",] == 1
    store.close()


def test_batches_of_an_account_that_is_not_configured_are_shown_too(store, scraper):
    stores.add_campaign(store, (3,), account="former")
    found = scraper.read()
    assert found["recipients", "former", "pending"] == 3
    assert found["recipients_due", "former"] == 3
