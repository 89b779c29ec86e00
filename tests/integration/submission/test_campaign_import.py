"""Imports: complete or nothing, once, in groups; and the answer to a second submission."""

import threading
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import orjson
import pytest
from sqlalchemy import event, func, select

from dispatcher.campaigns.timing import Timing
from dispatcher.cli.campaign.single_message import send_test_message
from dispatcher.errors import Refused, StoreBusyError, StoreError
from dispatcher.status import CampaignState, Encoding, RejectKind
from dispatcher.store import campaign_search, campaigns, imports
from dispatcher.store.engine import Store
from dispatcher.store.messages import unpack_cells
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.submission import acceptance, campaign_import, sameness, validation
from dispatcher.text.segments import measure_text
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    campaign_of,
    change,
    counts_of,
    ignore,
    later,
    new_batch,
    order,
    provider,
    ready,
    reject,
    rows,
    settings,
    start_import,
    submit,
)

TABLES = (CAMPAIGN, BATCH, MESSAGE, REJECT, SOURCE_ROWS)


def people(count, *, first=9_800_000_000):
    return "phone,name\n" + "".join(f"{first + n},p{n}\n" for n in range(count))


def import_only(store, wanted, adapter=None):
    with ready(wanted, adapter) as checked:
        return campaign_import.import_rows(store, checked, ignore)


def already(store, wanted):
    """The campaign that has the key; None if it could be imported."""
    with ready(wanted) as checked:
        known = sameness.find_submitted(store, checked)
        if known is None:
            campaign_import.discard_import(
                store, campaign_import.import_rows(store, checked, ignore).job
            )
        return known


def everything(store):
    return [rows(store, table) for table in TABLES]


# --- What is stored ---------------------------------------------------------------------------

MIXED = """phone,name
9800000001,Asha
12,too short
+919800000001,the same number
9800000002,
9800000003,Zoë ✓
9800000004,Ravi,surplus
9800000005,Mia
"""


def test_each_row_becomes_a_message_or_a_reject_with_its_reason(store):
    campaign_id = submit(store, order(MIXED, text="Dear {{name}}"))
    campaign = campaign_of(store, campaign_id)
    assert campaign.state == CampaignState.SCHEDULED
    assert (campaign.rows, campaign.total, campaign.invalid, campaign.duplicate) == (7, 3, 3, 1)
    found = [(m.row, m.msisdn, orjson.loads(m.variables)) for m in rows(store, MESSAGE)]
    assert sorted(found) == [
        (2, 919_800_000_001, ["Asha"]),
        (6, 919_800_000_003, ["Zoë ✓"]),
        (8, 919_800_000_005, ["Mia"]),
    ]
    rejected = rows(store, REJECT)
    assert [(r.row, RejectKind(r.kind).label, r.msisdn) for r in rejected] == [
        (3, "invalid", None),
        (4, "duplicate", 919_800_000_001),
        (5, "invalid", 919_800_000_002),
        (7, "invalid", None),
    ]
    assert all(r.reason for r in rejected)
    assert orjson.loads(rejected[2].cells) == ["9800000002", ""]
    assert counts_of(store, campaign_id) == {"pending": 3}


def test_messages_of_one_encoding_share_batches_and_batches_own_contiguous_ranges(store):
    names = ["Asha", "Zoë ✓", "Ravi"] * 120
    content = "phone,name\n" + "".join(f"{9_800_000_000 + n},{x}\n" for n, x in enumerate(names))
    submit(store, order(content, text="Dear {{name}}"))
    batches = rows(store, BATCH, order_by=[BATCH.c.seq])
    assert [b.seq for b in batches] == list(range(len(batches)))
    expected = 0
    for batch in batches:
        assert batch.first_seq == expected
        assert 0 < batch.size <= 100
        expected += batch.size
        mine = [m for m in rows(store, MESSAGE) if batch.first_seq <= m.seq < expected]
        assert [m.row for m in mine] == sorted(m.row for m in mine)
        texts = [f"Dear {orjson.loads(m.variables)[0]}" for m in mine]
        assert {measure_text(text).encoding for text in texts} == {Encoding(batch.encoding)}
        assert batch.parts == sum(m.parts for m in mine)
        (blob,) = [r.cells for r in rows(store, SOURCE_ROWS) if r.first_seq == batch.first_seq]
        assert [cells[1] for cells in unpack_cells(blob)] == [names[m.row - 2] for m in mine]
    assert expected == 360
    assert {(b.encoding, b.size) for b in batches} == {(0, 100), (0, 40), (1, 100), (1, 20)}


def test_a_text_without_placeholders_stores_nothing_per_recipient(store):
    submit(store, order(people(3)))
    assert {m.variables for m in rows(store, MESSAGE)} == {None}


def test_without_keeping_columns_nothing_of_the_file_is_kept_but_the_numbers(store):
    campaign_id = submit(store, order(MIXED, text="Dear {{name}}", keep_columns=False))
    assert rows(store, SOURCE_ROWS) == []
    assert campaign_of(store, campaign_id).columns == "[]"
    assert {r.cells for r in rows(store, REJECT)} == {"[]"}


def test_a_text_that_no_request_can_carry_is_a_rejected_row(store):
    adapter = provider(country="IN", sender="S", max_request_bytes=1024)
    content = f"phone,name\n9800000001,{'x' * 1000}\n9800000002,short\n"
    submit(store, order(content, text="Dear {{name}}"), adapter)
    assert [m.row for m in rows(store, MESSAGE)] == [3]
    assert "too long for a request" in rows(store, REJECT)[0].reason


def test_a_campaign_without_a_valid_row_is_rejected_and_finished(store):
    campaign_id = submit(store, order("phone\n12\n13\n"))
    campaign = campaign_of(store, campaign_id)
    assert campaign.state == CampaignState.REJECTED
    assert campaign.finished_at is not None
    assert (campaign.total, campaign.invalid) == (0, 2)
    assert len(rows(store, REJECT)) == 2


def test_a_dry_run_counts_the_same_and_stores_nothing(store):
    with ready(order(MIXED, text="Dear {{name}}")) as checked:
        preview = validation.dry_run(checked, ignore)
    assert (preview.rows, preview.valid, preview.invalid, preview.duplicate) == (7, 3, 3, 1)
    assert everything(store) == [[]] * 5


# A Russian mobile may be anywhere from Kaliningrad to Kamchatka, ten hours apart.
ABROAD = """phone,timezone
9800000001,
+12125550123,
+79161234567,
+79161234568,Europe/Moscow
9800000002,Atlantis
"""


@pytest.mark.parametrize("windows", [("09:00-18:00",), ()])
def test_batches_are_planned_by_zone_even_without_windows(sqlite_store, windows):
    timing = Timing(windows=windows, zone=ZoneInfo("Asia/Kolkata"), in_recipients_zone=True)
    campaign_id = submit(sqlite_store, order(ABROAD, timing=timing))
    zones = {batch.zone for batch in rows(sqlite_store, BATCH)}
    assert {"Asia/Kolkata", "America/New_York", "Europe/Moscow"} <= zones
    assert set(orjson.loads(campaign_of(sqlite_store, campaign_id).zones)) == zones


def test_a_recipient_whose_possible_zones_are_never_all_open_is_an_invalid_row(sqlite_store):
    timing = Timing(windows=("09:00-18:00",), in_recipients_zone=True)
    campaign_id = submit(sqlite_store, order(ABROAD, timing=timing))
    assert campaign_of(sqlite_store, campaign_id).total == 3
    reasons = {r.row: r.reason for r in rows(sqlite_store, REJECT)}
    assert reasons == {
        4: "the windows are never open in all of the 11 time zones that the number may be in: "
        "give its own in a column `timezone`",
        6: "column 'timezone' has no valid time zone; write Asia/Kolkata or +05:30",
    }


def test_windows_that_open_in_no_recipients_zone_are_refused_by_dry_run_and_import(sqlite_store):
    timing = Timing(windows=("2020-05-01 09:00-18:00",), in_recipients_zone=True)
    why = r"the windows never open: 2020-05-01 09:00-18:00 \(each recipient's zone\)"
    with ready(order(ABROAD, timing=timing)) as checked, pytest.raises(Refused, match=why):
        validation.dry_run(checked, ignore)
    with ready(order(ABROAD, timing=timing)) as checked, pytest.raises(Refused, match=why):
        campaign_import.import_rows(sqlite_store, checked, ignore)
    assert everything(sqlite_store) == [[]] * 5


def test_a_fallback_whose_windows_open_in_no_recipients_zone_is_refused_by_name(sqlite_store):
    timing = Timing(windows=("09:00-18:00",), in_recipients_zone=True)
    closed = settings(windows=("2020-05-01 09:00-18:00",))
    with ready(order(ABROAD, timing=timing)) as checked:
        with_other = replace(checked, fallback_settings={"other": closed})
        with pytest.raises(Refused, match="fallback account other: the windows never open"):
            campaign_import.import_rows(sqlite_store, with_other, ignore)
    assert everything(sqlite_store) == [[]] * 5


def test_a_test_message_that_is_not_accepted_in_time_is_cancelled(sqlite_store):
    with ready(order()) as checked, pytest.raises(Refused, match=r"not accepted \(pending\)"):
        send_test_message(sqlite_store, checked, "Hello", "+919800000009", within_s=0)
    (test,) = rows(sqlite_store, CAMPAIGN)
    assert (test.state, counts_of(sqlite_store, test.id)) == ("cancelled", {"cancelled": 1})


def test_the_limit_ends_the_import(store):
    campaign_id = submit(store, order(people(50), limit=7))
    assert campaign_of(store, campaign_id).total == 7


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "a\ud800"])
def test_a_text_that_cannot_be_sent_is_refused_before_the_file_is_opened(text):
    with pytest.raises(Refused), ready(order(text=text)):
        pass


# --- In groups --------------------------------------------------------------------------------


class Endless:
    """A file of generated rows, made while it is read."""

    def __init__(self, count):
        self._rows = (f"{9_800_000_000 + n * 3},p{n}\n".encode() for n in range(count))
        self._left = bytearray(b"phone,name\n")

    def read(self, size=-1):
        while size < 0 or len(self._left) < size:
            chunk = next(self._rows, None)
            if chunk is None:
                break
            self._left += chunk
        taken = bytes(self._left[:size])
        del self._left[:size]
        return taken


def test_a_large_file_is_stored_in_groups_while_it_is_read(sqlite_url):
    """In memory are the group that is stored and the one that is read, however many follow."""
    store, count = Store(sqlite_url), 100_000
    groups, read_at = [], [0]

    @event.listens_for(store.engine, "commit")
    def note(_connection):
        groups.append(read_at[0])

    def progress(row):
        read_at[0] = row

    with ready(order(source=Endless(count))) as checked:
        imported = campaign_import.import_rows(store, checked, progress)
    acceptance.accept_import(store, imported)
    gaps = [b - a for a, b in pairwise(groups)]
    assert len(groups) > count / 25_000
    assert max(gaps) < 50_000
    (campaign,) = rows(store, CAMPAIGN)
    assert campaign.total + campaign.invalid == count
    assert campaign.total > count / 2
    with store.read() as conn:
        assert (
            campaign_search.count_messages(conn, [campaign.id])[campaign.id]["pending"]
            == campaign.total
        )
    store.close()


@pytest.mark.parametrize("ends_it", [KeyboardInterrupt, StoreBusyError("the store is busy")])
def test_an_import_that_ends_while_a_group_is_stored_leaves_nothing(sqlite_url, ends_it):
    """Ctrl-C reaches the thread that reads, an error of the store the thread that stores."""
    store, commits = Store(sqlite_url), []
    is_error_of_store = isinstance(ends_it, StoreBusyError)

    @event.listens_for(store.engine, "commit")
    def fail_in_second_group(_connection):
        commits.append(threading.current_thread().name)
        if is_error_of_store and commits[-1].startswith("import") and len({*commits[-2:]}) == 1:
            raise ends_it

    def progress(row):
        if row > 45_000 and not is_error_of_store:
            raise ends_it

    with ready(order(source=Endless(70_000))) as checked, pytest.raises(type_of(ends_it)):
        campaign_import.import_rows(store, checked, progress)
    assert everything(store) == [[]] * 5
    store.close()


def type_of(error):
    return error if isinstance(error, type) else type(error)


# --- Killed -----------------------------------------------------------------------------------


def test_an_import_that_was_not_accepted_sends_nothing(store):
    imported = import_only(store, order(people(3)))
    with store.write() as conn:
        assert campaigns.start_due(conn, NOW) == []
        assert campaigns.finish_campaigns(conn, NOW) == []
    assert campaign_of(store, imported.job.campaign_id).state == CampaignState.IMPORTING


def test_a_discarded_import_leaves_nothing(store):
    imported = import_only(store, order(MIXED, text="Dear {{name}}"))
    campaign_import.discard_import(store, imported.job)
    assert everything(store) == [[]] * 5


def test_a_group_with_a_number_that_the_campaign_has_is_not_stored(store):
    with store.write() as conn:
        job = start_import(conn)
        imports.write_group(conn, job, [new_batch(0, 0, 5)], [], lease_until=later(60))
    twice = [new_batch(1, 5, 3000), new_batch(2, 3005, 1, first=FIRST_NUMBER - 3003)]
    with pytest.raises(StoreError), store.write() as conn:
        imports.write_group(conn, job, twice, [], lease_until=later(60))
    assert (message_count(store), len(rows(store, BATCH))) == (5, 1)
    with store.write() as conn:
        imports.write_group(conn, job, twice[:1], [], lease_until=later(60))
    assert (message_count(store), len(rows(store, BATCH))) == (3005, 2)


def test_a_large_import_is_discarded_in_groups_and_leaves_others_alone(store):
    kept = import_only(store, order(people(5)))
    with store.write() as conn:
        job = start_import(conn, content_key="large")
        rejects = [reject(n) for n in range(50_000, 50_009)]
        imports.write_group(conn, job, [new_batch(0, 0, 45_000)], rejects, lease_until=later(60))
    stored = [row for row in rows(store, MESSAGE) if row.campaign_id == job.campaign_id]
    assert [(row.seq, row.row, row.msisdn) for row in stored] == [
        (n, n + 1, FIRST_NUMBER + n) for n in range(45_000)
    ]
    counts = [message_count(store)]
    is_left = True
    while is_left:
        with store.write() as conn:
            is_left = not imports.discard_group(conn, job, later(60))
        counts.append(message_count(store))
    assert max(a - b for a, b in pairwise(counts)) <= 20_000
    assert {row.campaign_id for row in rows(store, MESSAGE)} == {kept.job.campaign_id}
    assert [row.id for row in rows(store, CAMPAIGN)] == [kept.job.campaign_id]
    assert rows(store, REJECT) == []
    assert len(rows(store, BATCH)) == 1


def message_count(store):
    with store.read() as conn:
        return conn.execute(select(func.count()).select_from(MESSAGE)).scalar_one()


def test_an_error_while_reading_leaves_nothing(store):
    broken = people(20) + '9811111111,"open\n' + people(20)
    with pytest.raises(Refused, match="quote that is not closed"):
        import_only(store, order(broken))
    assert everything(store) == [[]] * 5


def expire(store, campaign_id):
    """The lease of an import whose process was killed runs out."""
    with store.write() as conn:
        change(
            conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, import_lease_until=NOW.replace(year=2020)
        )


def test_the_next_import_of_the_same_content_discards_what_a_killed_one_left(store):
    wanted = people(250)
    killed = import_only(store, order(wanted))
    with pytest.raises(Refused, match=f"right now, as campaign {killed.job.campaign_id}"):
        import_only(store, order(wanted))
    expire(store, killed.job.campaign_id)
    campaign_id = submit(store, order(wanted))
    assert [row.id for row in rows(store, CAMPAIGN)] == [campaign_id]
    assert len(rows(store, MESSAGE)) == 250


def test_an_import_that_was_taken_over_can_neither_write_nor_accept_nor_discard(store):
    killed = import_only(store, order(people(3)))
    expire(store, killed.job.campaign_id)
    with store.write() as conn:
        (left,) = conn.execute(CAMPAIGN.select()).all()
        taken = imports.take_over_import(conn, left, later(60))
        assert imports.take_over_import(conn, left, later(60)) is None
    before = everything(store)
    for attempt in (
        lambda conn: imports.write_group(conn, killed.job, [], [reject(9)], lease_until=later(60)),
        lambda conn: imports.finish_import(conn, killed.job, {"total": 1}, later(60)),
        lambda conn: imports.mark_import_accepted(conn, killed.job, CampaignState.SCHEDULED, NOW),
        lambda conn: imports.discard_group(conn, killed.job, later(60)),
    ):
        with pytest.raises(Refused, match="took over this import"), store.write() as conn:
            attempt(conn)
    assert everything(store) == before
    campaign_import.discard_import(store, taken)
    assert everything(store) == [[]] * 5


def test_an_accepted_campaign_cannot_be_discarded(store):
    imported = import_only(store, order(people(3)))
    acceptance.accept_import(store, imported)
    with pytest.raises(Refused):
        campaign_import.discard_import(store, imported.job)
    assert len(rows(store, MESSAGE)) == 3


# --- The same again ---------------------------------------------------------------------------


def test_the_same_content_within_a_day_is_refused_unless_asked_for_again(store):
    campaign_id = submit(store, order(people(3)))
    with pytest.raises(Refused, match=f"submitted as campaign {campaign_id}") as caught:
        already(store, order(people(3)))
    assert "--again" in caught.value.hint
    assert already(store, order(people(3), again=True)) is None
    with store.write() as conn:
        yesterday = campaign_of(store, campaign_id).created_at - LEASE * 24 * 60
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, created_at=yesterday)
    assert already(store, order(people(3))) is None


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (people(4), {}),
        (people(2), {}),
        (people(3).replace("p1", "p7"), {"text": "Dear {{name}}"}),
        (
            people(3).replace("p1", "p3").replace("p2", "p1").replace("p3", "p2"),
            {"text": "Dear {{name}}"},
        ),
        (people(3), {"text": "Hallo"}),
        (people(3), {"account": "other"}),
        (people(3), {"sender": "OTHER"}),
        (people(3), {"limit": 2}),
        (people(3), {"kind": "promotional"}),
    ],
)
def test_other_content_is_not_the_same(store, content, values):
    submit(store, order(people(3)))
    assert already(store, order(content, **values)) is None


def test_files_that_differ_only_far_from_the_beginning_are_not_the_same(store):
    padding = "".join(f"{n},{'x' * 90}\n" for n in range(3_000))
    submit(store, order("phone,name\n9800000001,a\n" + padding))
    assert already(store, order("phone,name\n9800000001,a\n" + padding + "9800000002,b\n")) is None


def test_content_accepted_since_the_check_is_refused_at_the_import(store):
    """Two submissions check, then both import: the second must not send the same again."""
    with ready(order(people(3))) as one, ready(order(people(3))) as two:
        assert sameness.find_submitted(store, one) is None
        assert sameness.find_submitted(store, two) is None
        acceptance.accept_import(store, campaign_import.import_rows(store, one, ignore))
        with pytest.raises(Refused, match="were submitted as campaign"):
            campaign_import.import_rows(store, two, ignore)
    assert len(rows(store, CAMPAIGN)) == 1


@pytest.mark.parametrize("key", [None, "the key"])
def test_of_simultaneous_submissions_one_is_accepted(store, key):
    outcomes = []
    barrier = threading.Barrier(4)

    def race():
        barrier.wait(30)
        try:
            outcomes.append(submit(store, order(people(150), idempotency_key=key)))
        except Refused as refused:
            outcomes.append(refused)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert len(outcomes) == 4
    assert len(rows(store, MESSAGE)) == 150


# --- Idempotency keys -------------------------------------------------------------------------


def test_a_key_with_the_same_content_finds_its_campaign(store):
    campaign_id = submit(store, order(people(3), idempotency_key="k"))
    assert already(store, order(people(3), idempotency_key="k")).id == campaign_id


def test_a_key_with_other_content_is_refused(store):
    campaign_id = submit(store, order(people(3), idempotency_key="k"))
    with pytest.raises(Refused, match=f"used before, by campaign {campaign_id}"):
        already(store, order(people(4), idempotency_key="k"))
    with pytest.raises(Refused, match="was submitted with this idempotency key"):
        import_only(store, order(people(4), idempotency_key="k", again=True))


def test_a_new_key_does_not_make_the_same_content_new(store):
    submit(store, order(people(3), idempotency_key="k"))
    with pytest.raises(Refused, match="were submitted as campaign"):
        already(store, order(people(3), idempotency_key="another"))
    assert already(store, order(people(3), idempotency_key="another", again=True)) is None


def test_a_key_that_a_killed_import_holds_is_free_again_after_its_lease(store):
    killed = import_only(store, order(people(3), idempotency_key="k"))
    with ready(order(people(4), idempotency_key="k")) as checked:
        assert sameness.find_submitted(store, checked) is None
    with pytest.raises(Refused, match="right now"):
        import_only(store, order(people(4), idempotency_key="k"))
    expire(store, killed.job.campaign_id)
    campaign_id = submit(store, order(people(4), idempotency_key="k"))
    assert [row.id for row in rows(store, CAMPAIGN)] == [campaign_id]


def test_a_key_used_since_the_check_is_refused_with_its_campaign(store):
    with ready(order(people(3), idempotency_key="k")) as late:
        assert sameness.find_submitted(store, late) is None
        campaign_id = submit(store, order(people(3), idempotency_key="k"))
        with pytest.raises(Refused, match=f"campaign {campaign_id} was submitted with"):
            campaign_import.import_rows(store, late, ignore)


def test_an_import_row_of_its_own_content_can_be_made(store):
    with store.write() as conn:
        job = start_import(conn)
        assert imports.find_unfinished(conn, "content", None).id == job.campaign_id
        assert imports.find_unfinished(conn, "other", None) is None
        assert imports.discard_group(conn, job, NOW) is True
