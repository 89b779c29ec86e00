"""Answers that the store does not take: kept, put on the disk, and settled once."""

import stat
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace

import pytest

from dispatcher.errors import StoreError
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.policy.verdict import Accepted
from dispatcher.recovery.spill import Spill
from dispatcher.status import BatchState, MessageState
from dispatcher.store import answers, batch_endings, batches, lost_batches
from dispatcher.store.engine import Store, store_now
from dispatcher.store.settlement import PollSchedule, Settlement
from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.support.stores import (
    NOW,
    add_campaign,
    attempt_of,
    audit,
    batch_of,
    begin,
    campaign_of,
    change,
    claimed,
    later,
    rows,
    settle,
    states,
    submitting,
    verdict,
)
from workers.batch.durable_write import write_durably


@pytest.fixture
def spill(tmp_path):
    return Spill(tmp_path / "spill")


def answer(held, attempt_id, said=None):
    return Settlement(
        claim=held,
        attempt_id=attempt_id,
        verdict=said,
        polling=PollSchedule(first_s=10, for_s=3600) if said else None,
    )


def lose(store, seconds=70):
    """Judge the lease of whatever is held: it ran out."""
    with store.write() as conn:
        lost_batches.release_expired_claims(conn, later(seconds))
        lost_batches.doubt_expired_submissions(conn, later(seconds))


def test_a_spilled_answer_is_settled_by_the_next_start(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    said = verdict(rejected=[1], doubtful=[2], job_id="job-9")
    said = type(said)(
        outcome=said.outcome,
        accepted=[Accepted(0, "id-0", Decimal("0.25"))],
        rejected=said.rejected,
        doubtful=said.doubtful,
        job_id="job-9",
    )
    spill.write_answer(answer(held, attempt_id, said))
    assert Spill(spill.folder).settle_all(store) == 1
    assert states(store) == ["submitted", "rejected", "in_doubt"]
    first = rows(store, MESSAGE)[0]
    assert (first.provider_message_id, first.cost) == ("id-0", Decimal("0.25"))
    attempt = attempt_of(store, attempt_id)
    assert attempt.job_id == "job-9"
    assert (attempt.poll_until - attempt.poll_at).total_seconds() == pytest.approx(3590)
    assert batch_of(store, held.id).state == BatchState.SETTLED
    assert spill.waiting_files() == []


def test_it_is_private_and_holds_neither_numbers_nor_texts(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    spill.write_answer(answer(held, attempt_id, verdict(accepted=[0, 1, 2])))
    (path,) = spill.waiting_files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for row in rows(store, MESSAGE):
        assert str(row.msisdn) not in path.read_text()


def test_an_answer_of_a_lost_lease_ends_the_doubt_about_its_own_messages(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    spill.write_answer(answer(held, attempt_id, verdict(accepted=[0, 1], rejected=[2])))
    lose(store)
    assert spill.settle_all(store) == 1
    assert states(store) == ["submitted", "submitted", "in_doubt"]


def test_an_answer_settles_once_a_second_time_is_an_audit_row(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    for _ in range(2):
        spill.write_answer(answer(held, attempt_id, verdict(accepted=[0, 1, 2])))
        assert spill.settle_all(store) == 1
    assert states(store) == ["submitted"] * 3
    assert audit(store) == ["answer again"]


def test_an_answer_to_a_batch_that_another_request_is_out_for_leaves_that_alone(store, spill):
    add_campaign(store)
    held, (first, second) = submitting(store, [[0], [1, 2]])
    spill.write_answer(answer(held, first, verdict(accepted=[0])))
    spill.settle_all(store)
    assert batch_of(store, held.id).state == BatchState.SUBMITTING
    spill.write_answer(answer(held, second, verdict(accepted=[1, 2])))
    spill.settle_all(store)
    assert batch_of(store, held.id).state == BatchState.SETTLED
    assert states(store) == ["submitted"] * 3


@pytest.mark.parametrize("content", [b"", b"{}", b'{"claim": 3}', b"\xff not JSON"])
def test_what_cannot_be_read_is_put_aside_and_the_others_are_settled(store, spill, content, caplog):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    spill.write_answer(answer(held, attempt_id, verdict(accepted=[0, 1, 2])))
    (spill.folder / "1-1-9.json").write_bytes(content)
    assert spill.settle_all(store) == 1
    assert [path.name for path in spill.quarantined_files()] == ["1-1-9.aside"]
    assert "cannot be read" in caplog.text


def test_an_answer_to_an_attempt_that_the_store_does_not_know_is_put_aside(store, spill, caplog):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    spill.write_answer(answer(held, attempt_id + 5, verdict(accepted=[0, 1, 2])))
    assert spill.settle_all(store) == 0
    assert states(store) == ["pending"] * 3
    assert len(spill.quarantined_files()) == 1
    assert "does not know" in caplog.text


# --- Requests that never left -----------------------------------------------------------------


@pytest.mark.parametrize("is_lost", [False, True])
def test_an_attempt_that_never_left_goes_back_even_when_its_lease_ran_out(store, spill, is_lost):
    campaign_id = add_campaign(store)
    held, (attempt_id,) = submitting(store)
    if is_lost:
        lose(store)
        with store.write() as conn:
            values = {"state": "finished", "finished_at": later(71)}
            change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, **values)
    spill.write_answer(answer(held, attempt_id))
    spill.settle_all(store)
    assert states(store) == ["pending"] * 3
    assert [row.attempts for row in rows(store, MESSAGE)] == [0] * 3
    assert batch_of(store, held.id).state == BatchState.PENDING
    assert campaign_of(store, campaign_id).state == ("scheduled" if is_lost else "running")
    assert campaign_of(store, campaign_id).finished_at is None


def test_an_attempt_that_never_left_does_not_take_back_what_was_decided_since(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    lose(store)
    with store.write() as conn:
        conn.execute(
            MESSAGE.update().where(MESSAGE.c.seq == 1).values(state=MessageState.SUBMITTED)
        )
        counts = {"in_doubt": 2, "submitted": 1, "no_receipt": 1}
        conn.execute(batches.BATCH.update().values(**counts))
    spill.write_answer(answer(held, attempt_id))
    spill.settle_all(store)
    assert states(store) == ["pending", "submitted", "pending"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_begin_whose_commit_was_not_acknowledged_leaves_nothing_in_doubt(store, has_begun):
    add_campaign(store)
    held = claimed(store)
    if has_begun:
        begin(store, held)
    with store.write() as conn:
        batch_endings.hand_back_unsent(conn, held, 0, later(5))
    assert states(store) == ["pending"] * 3
    assert batch_of(store, held.id).state == BatchState.PENDING
    with store.write() as conn:
        assert sweep_batches(conn, now=later(500), judge_after=NOW, requeue_after_s=30) == []
    assert states(store) == ["pending"] * 3


def test_what_was_sent_before_such_a_begin_stays_as_it_is(store):
    """A turn begins its requests in groups: one of them in doubt, one without an answer yet."""
    add_campaign(store)
    held, (doubtful, waiting) = submitting(store, [[0], [1]])
    settle(store, held, doubtful, verdict(doubtful=[0]), poll=None)
    begin(store, held, [[2]], is_first=False)
    with store.write() as conn:
        batch_endings.hand_back_unsent(conn, held, waiting, later(5))
    assert states(store) == ["in_doubt", "pending", "pending"]
    assert batch_of(store, held.id).state == BatchState.SUBMITTING
    settle(store, held, waiting, verdict(accepted=[1]), poll=None)
    with store.write() as conn:
        batch_endings.hand_back_unsent(conn, held, waiting, later(6))
    assert states(store) == ["in_doubt", "submitted", "pending"]
    assert batch_of(store, held.id).state == BatchState.PENDING


# --- Kept in memory meanwhile -----------------------------------------------------------------


class Locked:
    """A store that somebody else has locked, until `unlock`."""

    def __init__(self, store):
        self._store = store
        self.tries = 0
        self.is_locked = True

    @contextmanager
    def write(self):
        self.tries += 1
        if self.is_locked:
            raise StoreError("the store is locked")
        with self._store.write() as conn:
            yield conn


def fake_services(store, spill):
    return SimpleNamespace(store=store, spill=spill, stopping=threading.Event())


def keeping(services, given, results):
    thread = threading.Thread(
        target=lambda: results.append(write_durably(services, given.apply_to, [given]))
    )
    thread.start()
    return thread


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_answer_is_tried_again_until_the_store_takes_it(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    services = fake_services(Locked(store), spill)
    results = []
    thread = keeping(services, answer(held, attempt_id, verdict(accepted=[0, 1, 2])), results)
    wait_until(lambda: services.store.tries > 2)
    services.store.is_locked = False
    thread.join(20)
    assert results == [True]
    assert states(store) == ["submitted"] * 3
    assert spill.waiting_files() == []


def test_a_process_that_is_asked_to_end_meanwhile_puts_it_on_the_disk(store, spill):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    services = fake_services(Locked(store), spill)
    results = []
    thread = keeping(services, answer(held, attempt_id, verdict(accepted=[0, 1, 2])), results)
    wait_until(lambda: services.store.tries > 0)
    services.stopping.set()
    thread.join(20)
    assert results == [False]
    assert len(spill.waiting_files()) == 1
    assert spill.settle_all(store) == 1
    assert states(store) == ["submitted"] * 3


def test_with_a_full_disk_too_it_stays_in_memory_until_the_store_is_back(store, tmp_path, caplog):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    (tmp_path / "file").touch()
    services = fake_services(Locked(store), Spill(tmp_path / "file" / "spill"))
    services.stopping.set()
    results = []
    thread = keeping(services, answer(held, attempt_id, verdict(accepted=[0, 1, 2])), results)
    wait_until(lambda: services.store.tries > 1)
    services.store.is_locked = False
    thread.join(20)
    assert results == [True]
    assert states(store) == ["submitted"] * 3
    assert "kept in memory" in caplog.text


# --- A full disk ------------------------------------------------------------------------------


def test_a_full_disk_is_said_nothing_is_lost_and_work_goes_on_once_there_is_space(sqlite_url):
    from sqlalchemy import event

    store = Store(sqlite_url)
    add_campaign(store, sizes=(3,))
    held, (attempt_id,) = submitting(store)
    room = {"pages": 0}

    @event.listens_for(store.engine, "connect")
    def limit(connection, _record):
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        if room["pages"] is not None:
            connection.execute(f"PRAGMA max_page_count = {used + room['pages']}")

    store.close()  # connections made from now on meet the limit
    with pytest.raises(StoreError, match="full disk") as caught:
        add_campaign(store, sizes=(2000, 2000), first=919_900_000_000)
    assert "free some space" in caught.value.hint
    room["pages"] = None
    store.close()
    with store.read() as conn:
        assert conn.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert store_now(conn) is not None
    with store.write() as conn:
        answers.settle_answer(
            conn, held, attempt_id, verdict(accepted=[0, 1, 2]), poll=None, now=later(5)
        )
    assert states(store) == ["submitted"] * 3
    store.close()


def test_an_attempt_number_that_the_store_cannot_hold_is_put_aside(sqlite_store, spill):
    add_campaign(sqlite_store)
    held, _attempts = submitting(sqlite_store)
    spill.write_answer(answer(held, 2**63, verdict(accepted=[0])))
    assert spill.settle_all(sqlite_store) == 0
    assert len(spill.quarantined_files()) == 1


def test_an_answer_that_another_process_settles_meanwhile_is_no_error(sqlite_store, spill):
    add_campaign(sqlite_store)
    held, (attempt_id,) = submitting(sqlite_store)
    spill.write_answer(answer(held, attempt_id, verdict(accepted=[0, 1, 2])))

    class Shared:
        """The store, at a moment when another process has just removed the file."""

        is_sqlite = True

        @contextmanager
        def write(self):
            with sqlite_store.write() as conn:
                yield conn
            for path in spill.waiting_files():
                path.unlink()

    assert spill.settle_all(Shared()) == 1
    assert states(sqlite_store) == ["submitted"] * 3
