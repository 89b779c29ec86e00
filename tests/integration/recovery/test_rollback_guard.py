"""An older copy of the store is detected, and nothing else is. Then a person adopts it."""

import os
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import fakeredis
import pytest
from redis.exceptions import ResponseError

from dispatcher.cli.banners import warn_if_held
from dispatcher.doctor import _check_witness
from dispatcher.outbound.release import release_batches
from dispatcher.recovery import adoption, rollback_guard
from dispatcher.recovery.mark_file import HighWaterMark, MarkFile, UnreadableMark
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store import batch_endings, batches, lost_batches, store_adoption, store_identity
from dispatcher.store.audit import current_person
from dispatcher.store.engine import Store
from dispatcher.store.tables import ATTEMPT, AUDIT, CAMPAIGN, IDENTITY
from tests.support.folders import FOLDER
from tests.support.stores import (
    NOW,
    add_campaign,
    assert_counts_agree,
    batch_of,
    change,
    claim,
    claimed,
    counts_of,
    later,
    queued,
    rows,
    settings,
    settle,
    states,
    submitted,
    submitting,
    verdict,
)
from workers.watchdog import Watchdog


@pytest.fixture
def folder(tmp_path):
    """The user's folder for state."""
    return tmp_path / "state"


@pytest.fixture
def client():
    with closing(fakeredis.FakeRedis()) as redis:
        yield redis


def tick(guard, store):
    """What the tick does with its guard; why the store is held."""
    remembered = guard.read_redis_mark()
    with store.write() as conn:
        held = guard.check_and_hold(conn, remembered=remembered)
    guard.save_marks()
    return held


def send_one(guard, store):
    """Submit the first pending batch, as a worker does."""
    with store.write() as conn:
        assert guard.may_claim(conn)
    held, (attempt,) = submitting(store)
    guard.record_attempts([attempt])
    settle(store, held, attempt, verdict(accepted=range(held.first_seq, held.first_seq + 3)))
    with store.write() as conn:
        batch_endings.close_batch(
            conn, held, not_before=None, error=None, failed_after=None, now=NOW
        )


def released(store):
    with store.write() as conn:
        return release_batches(conn, "main", settings(max_in_flight=4), NOW)


class Sqlite:
    """A store with a campaign of three batches, of which the first was sent before the backup."""

    def __init__(self, url, tmp_path, folder):
        self.store, self.folder = Store(url), folder
        self.path, self.backup = Path(self.store.url.database), tmp_path / "backup.db"
        self.guard = RollbackGuard(self.store, folder=folder)
        assert tick(self.guard, self.store) is None
        self.campaign = add_campaign(self.store, sizes=(3, 3, 3))
        send_one(self.guard, self.store)
        tick(self.guard, self.store)
        with self.store.write() as conn:
            conn.exec_driver_sql("SELECT 1")
        with self.store.engine.connect() as conn:
            conn.exec_driver_sql(f"VACUUM INTO '{self.backup}'")

    def restore(self, *, stopped=True):
        if stopped:
            self.store.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self.backup, self.path)

    @property
    def beside(self):
        return Path(f"{self.path}.witness")

    def started_again(self):
        """A process that starts now."""
        return RollbackGuard(self.store, folder=self.folder)


@pytest.fixture
def sqlite(sqlite_url, tmp_path, folder):
    made = Sqlite(sqlite_url, tmp_path, folder)
    yield made
    assert_counts_agree(made.store)
    made.store.close()


# --- What is not an alarm ---------------------------------------------------------------------


def test_a_store_that_was_stopped_and_started_again_is_not_held(sqlite):
    send_one(sqlite.guard, sqlite.store)
    assert tick(sqlite.started_again(), sqlite.store) is None
    assert len(released(sqlite.store)) == 1


def test_a_look_before_the_next_tick_counts_the_attempts_since_the_last_one(sqlite):
    send_one(sqlite.guard, sqlite.store)
    assert sqlite.started_again().find_hold_reason() is None


def test_a_store_that_no_tick_has_seen_yet_is_not_held(sqlite_store, folder):
    """It has its id since its first campaign, and no witness yet."""
    guard = RollbackGuard(sqlite_store, folder=folder)
    assert guard.find_hold_reason() is None
    add_campaign(sqlite_store)
    with sqlite_store.write() as conn:
        store_identity.ensure_store_id(conn)
    assert guard.find_hold_reason() is None
    assert tick(guard, sqlite_store) is None


def test_a_store_whose_identity_is_gone_gets_another_one(sqlite_store, folder):
    guard = RollbackGuard(sqlite_store, folder=folder)
    tick(guard, sqlite_store)
    with sqlite_store.write() as conn:
        conn.execute(IDENTITY.delete())
        assert guard.may_claim(conn)


def test_a_mark_in_the_state_folder_is_written_once_something_was_sent(sqlite_store, tmp_path):
    nested = tmp_path / "user" / "state"
    guard = RollbackGuard(sqlite_store, folder=nested)
    tick(guard, sqlite_store)
    assert not nested.exists()
    add_campaign(sqlite_store)
    send_one(guard, sqlite_store)
    tick(guard, sqlite_store)
    assert len([*nested.iterdir()]) == 1


def test_a_user_without_a_home_has_one_witness_less(sqlite_store, monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(rollback_guard, "state_folder", fail)
    guard = RollbackGuard(sqlite_store)
    add_campaign(sqlite_store)
    send_one(guard, sqlite_store)
    assert tick(guard, sqlite_store) is None


def test_a_process_killed_before_its_witness_was_written_is_no_alarm(sqlite):
    submitting(sqlite.store)  # committed, and killed: nobody called `begun`
    assert tick(sqlite.started_again(), sqlite.store) is None


def test_a_copy_of_the_newest_state_is_no_alarm(sqlite):
    sqlite.restore()
    assert tick(sqlite.started_again(), sqlite.store) is None


def test_a_fresh_store_in_the_place_of_an_old_one_is_no_alarm(sqlite, sqlite_template):
    send_one(sqlite.guard, sqlite.store)
    sqlite.store.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{sqlite.path}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(sqlite_template, sqlite.path)
    guard = sqlite.started_again()
    add_campaign(sqlite.store)
    assert tick(guard, sqlite.store) is None
    assert len(released(sqlite.store)) == 1


def test_a_folder_that_is_moved_as_a_whole_is_no_alarm(sqlite, tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    for suffix in ("", "-wal", "-shm", ".witness"):
        if Path(f"{sqlite.path}{suffix}").exists():
            shutil.move(f"{sqlite.path}{suffix}", place)
    with closing(Store(f"sqlite:///{place / sqlite.path.name}")) as moved:
        assert tick(RollbackGuard(moved, folder=tmp_path / "another home"), moved) is None


def test_a_store_with_nothing_left_to_send_needs_no_witness(sqlite):
    for _ in range(2):
        send_one(sqlite.guard, sqlite.store)
    tick(sqlite.guard, sqlite.store)
    sqlite.beside.unlink()
    assert tick(sqlite.started_again(), sqlite.store) is None
    assert sqlite.beside.exists()


def test_a_witness_file_deleted_under_a_running_process_is_written_again(sqlite):
    sqlite.beside.unlink()
    assert tick(sqlite.guard, sqlite.store) is None
    send_one(sqlite.guard, sqlite.store)
    assert sqlite.beside.exists()


def test_a_redis_that_is_new_or_away_is_no_alarm(store, folder, client):
    guard = RollbackGuard(store, client=client, folder=folder)
    assert tick(guard, store) is None
    add_campaign(store, sizes=(3, 3))
    send_one(guard, store)
    assert tick(guard, store) is None
    client.flushall()
    assert tick(RollbackGuard(store, client=client, folder=folder), store) is None
    server = fakeredis.FakeServer()
    server.connected = False
    away = fakeredis.FakeRedis(server=server)
    assert tick(RollbackGuard(store, client=away, folder=folder), store) is None


# --- What is ----------------------------------------------------------------------------------


def assert_held(store, guard, words):
    held = tick(guard, store)
    assert held is not None
    assert words in held
    assert "dispatcher db adopt" in held
    assert released(store) == []
    with store.write() as conn:
        assert not guard.may_claim(conn)


def test_an_older_copy_over_a_stopped_system_releases_nothing(sqlite):
    send_one(sqlite.guard, sqlite.store)
    sqlite.restore()
    assert RollbackGuard(sqlite.store, folder=sqlite.folder).find_hold_reason() is not None
    assert_held(sqlite.store, sqlite.started_again(), "older copy")
    # Once seen, the store remembers: the witnesses may go now.
    sqlite.beside.unlink()
    shutil.rmtree(sqlite.folder)
    assert_held(sqlite.store, sqlite.started_again(), "older copy")


def test_an_older_copy_under_a_running_process_is_detected_at_its_next_claim(sqlite):
    send_one(sqlite.guard, sqlite.store)
    sqlite.restore(stopped=False)
    with sqlite.store.write() as conn:
        assert not sqlite.guard.may_claim(conn)
    assert_held(sqlite.store, sqlite.guard, "older copy")


def test_the_last_attempt_before_a_kill_counts_without_a_tick(sqlite):
    send_one(sqlite.guard, sqlite.store)
    shutil.rmtree(sqlite.folder, ignore_errors=True)
    sqlite.restore()
    assert_held(sqlite.store, sqlite.started_again(), "older copy")


def test_an_older_copy_restored_with_its_older_witness_is_detected_by_the_state_folder(sqlite):
    saved = sqlite.beside.read_bytes()
    send_one(sqlite.guard, sqlite.store)
    tick(sqlite.guard, sqlite.store)
    sqlite.restore()
    sqlite.beside.write_bytes(saved)
    assert_held(sqlite.store, sqlite.started_again(), "older copy")


def test_a_copy_without_its_witness_on_another_machine_is_held(sqlite, tmp_path):
    sqlite.restore()
    sqlite.beside.unlink()
    assert_held(sqlite.store, RollbackGuard(sqlite.store, folder=tmp_path / "other"), ".witness")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"store x has begun attempt 3\n"])
def test_a_damaged_witness_counts_as_none(sqlite, content):
    sqlite.beside.write_bytes(content)
    assert_held(sqlite.store, sqlite.started_again(), ".witness")


def test_redis_is_a_witness_where_the_place_proves_nothing(store, folder, client):
    guard = RollbackGuard(store, client=client, folder=folder)
    tick(guard, store)
    add_campaign(store, sizes=(3, 3))
    send_one(guard, store)
    tick(guard, store)
    (row,) = rows(store, IDENTITY)
    client.set(f"dispatcher:witness:{row.store_id}", 99)
    assert_held(store, RollbackGuard(store, client=client, folder=folder), "older copy")


@pytest.mark.postgres
def test_a_dump_restored_into_postgresql_is_in_another_place(postgres_server, postgres_url, folder):
    with closing(Store(postgres_url)) as store:
        guard = RollbackGuard(store, folder=folder)
        tick(guard, store)
        add_campaign(store, sizes=(3, 3))
        send_one(guard, store)
        tick(guard, store)
    name = postgres_url.partition("@/")[2].partition("?")[0]
    with (
        postgres_server.database(template=name) as copy,
        closing(Store(copy)) as restored,
    ):
        assert_held(restored, RollbackGuard(restored, folder=folder), "another place")


@pytest.mark.parametrize(
    ("noted", "found", "is_held"),
    [
        ("7710/00000001/16384/16500", "7710/00000001/16384/16500", False),
        ("7710/00000001/16384/16500", "7710/00000002/16384/16500", True),
        ("7710/00000001/16384/16500", "9900/00000001/16384/16500", True),
        ("7710/00000001/16384/16500", "7710/00000001/16384/17001", True),
        ("//16384/16500", "7710/00000001/16384/16500", False),
        ("7710/00000001/16384/16500", "//16384/16500", False),
    ],
)
def test_a_recovery_a_failover_and_a_dump_change_the_place(noted, found, is_held):
    assert store_identity.is_same_place(noted, found) is not is_held


@pytest.mark.postgres
@pytest.mark.parametrize("part", range(4), ids=["cluster", "timeline", "database", "table"])
def test_nothing_is_released_or_claimed_in_another_place_before_a_tick(emptied_postgres_url, part):
    """Hole 8: PostgreSQL fails over to a standby that lacks the last commits; beat may be down."""
    with closing(Store(emptied_postgres_url)) as store:
        guard = RollbackGuard(store)
        add_campaign(store, (3, 3))
        with store.write() as conn:
            assert guard.check_and_hold(conn) is None
            assert guard.may_claim(conn)
            (ticket, *_) = release_batches(conn, "main", settings(), NOW)
            place = store_identity.load_identity(conn).place.split("/")
            place[part] = "1" + place[part][1:] + "0"
            store_identity.update_identity(conn, place="/".join(place))
        with store.write() as conn:
            assert release_batches(conn, "main", settings(max_in_flight=9), NOW) == []
            assert not guard.may_claim(conn)
            assert not RollbackGuard(store).may_claim(conn)
            assert guard.check_and_hold(conn) is not None
        assert batch_of(store, ticket.id).state == BatchState.QUEUED


def test_what_was_seen_of_another_store_does_not_hold_this_one(sqlite_store, folder):
    """The store got an identity of its own meanwhile: another process has adopted it."""
    guard = RollbackGuard(sqlite_store, folder=folder)
    tick(guard, sqlite_store)
    guard.record_attempts([5])
    with sqlite_store.write() as conn:
        assert not guard.may_claim(conn)
        store_identity.update_identity(conn, store_id="another")
        assert guard.may_claim(conn)
    guard.record_attempts([6])
    beside = MarkFile(Path(f"{sqlite_store.url.database}.witness"))
    assert beside.read_mark() == HighWaterMark("another", 6)


@pytest.mark.postgres
def test_a_part_of_the_place_that_a_hosted_server_does_not_tell_is_empty(emptied_postgres_url):
    with closing(Store(emptied_postgres_url)) as store, store.read() as conn:
        whole = store_identity.locate_tables(conn).split("/")
    with closing(Store(emptied_postgres_url)) as store, store.engine.connect() as conn:
        # Undone with the transaction.
        conn.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        conn.exec_driver_sql("CREATE ROLE limited")
        conn.exec_driver_sql("SET ROLE limited")
        for _ in range(2):
            assert store_identity.locate_tables(conn).split("/") == ["", *whole[1:]]
        conn.rollback()


@pytest.mark.parametrize("doubt", ["in flight", "claimed", "in doubt", "cancelled", "finished"])
@pytest.mark.parametrize("others", [0, 3], ids=["alone", "with others pending"])
def test_no_doubt_of_a_restored_store_is_resent_by_itself(store, client, doubt, others):
    """Hole 7: what was in flight or in doubt at the backup may have been resent since."""
    campaign = add_campaign(store, (3, others) if others else (3,), on_doubt="resend")
    (claimed if doubt == "claimed" else submitting)(store)
    with store.write() as conn:
        if doubt in {"in doubt", "cancelled", "finished"}:
            assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
        if doubt in {"cancelled", "finished"}:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state=doubt, finished_at=NOW)
    if doubt in {"cancelled", "finished"} and others:
        return  # nothing is pending in a campaign that is over
    adoption.adopt_and_recheck(store, client, doubt=True)
    assert counts_of(store, campaign) == {"in_doubt": 3 + others}
    assert rows(store, CAMPAIGN)[0].on_doubt == "hold"


def test_marks_only_grow_and_a_full_disk_does_not_stop_them(tmp_path):
    file = MarkFile(tmp_path / "mark")
    file.advance_to(HighWaterMark("a", 5), sync=True)
    size = file.path.stat().st_size
    file.advance_to(HighWaterMark("a", 3), sync=False)
    assert file.read_mark() == HighWaterMark("a", 5)
    file.advance_to(HighWaterMark("a", 123_456_789), sync=False)
    assert file.read_mark() == HighWaterMark("a", 123_456_789)
    assert file.path.stat().st_size == size
    file.advance_to(HighWaterMark("b", 1), sync=False)
    assert file.read_mark() == HighWaterMark("b", 1)


@pytest.mark.parametrize("sync", [True, False])
def test_a_mark_waits_for_the_disk_where_that_is_asked_for(tmp_path, monkeypatch, sync):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or fsync(handle))
    MarkFile(tmp_path / "mark").advance_to(HighWaterMark("a", 5), sync=sync)
    assert bool(synced) is sync


# --- A witness that this user may not read ----------------------------------------------------


def unreadable(path):
    """Put something there that nobody can read as a file, the administrator included."""
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def test_another_users_mark_is_named_as_unreadable(tmp_path):
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        Path(folder).chmod(0o755)
        mark = MarkFile(Path(folder) / "store.db.witness")
        mark.advance_to(HighWaterMark("a", 5), sync=False)
        mark.path.chmod(0)
        me = os.geteuid()
        if me == 0:  # the administrator may read everything
            os.seteuid(65_534)
        try:
            with pytest.raises(UnreadableMark, match="cannot be read: Permission denied") as caught:
                mark.read_mark()
        finally:
            os.seteuid(me)
    assert str(mark.path) in caught.value.message
    assert "adopt" not in caught.value.in_one_line


def test_an_unreadable_witness_stops_sending_but_does_not_hold_the_store(sqlite):
    send_one(sqlite.guard, sqlite.store)
    unreadable(sqlite.beside)
    again = sqlite.started_again()
    for ask in (again.find_hold_reason, lambda: tick(again, sqlite.store)):
        with pytest.raises(UnreadableMark, match=r"\.witness cannot be read") as caught:
            ask()
        assert "adopt" not in caught.value.in_one_line
    with sqlite.store.write() as conn, pytest.raises(UnreadableMark):
        sqlite.started_again().may_claim(conn)
    with sqlite.store.read() as conn:
        assert store_identity.load_identity(conn).held is None


def test_a_store_with_an_unreadable_witness_cannot_be_adopted(sqlite, client):
    send_one(sqlite.guard, sqlite.store)
    unreadable(sqlite.beside)
    with pytest.raises(UnreadableMark):
        adoption.check_store(sqlite.store, client)
    with sqlite.store.read() as conn:
        assert store_identity.load_identity(conn).held is None


def test_it_is_told_by_doctor_and_before_lists_for_what_it_is(sqlite, capsys):
    send_one(sqlite.guard, sqlite.store)
    unreadable(sqlite.beside)
    assert warn_if_held(sqlite.store) is None
    (result,) = _check_witness(sqlite.store)
    for told in (capsys.readouterr().err, f"{result.what}: {result.remedy}"):
        assert f"{sqlite.beside} cannot be read" in told
        assert "NOTHING IS SENT" not in told
        assert "adopt" not in told


def test_an_unreadable_mark_in_the_state_folder_is_one_witness_less(sqlite):
    send_one(sqlite.guard, sqlite.store)
    tick(sqlite.guard, sqlite.store)
    (mark,) = sqlite.folder.iterdir()
    unreadable(mark)
    assert tick(sqlite.started_again(), sqlite.store) is None


# --- Adoption ---------------------------------------------------------------------------------


def test_a_restored_store_goes_on_once_adopted_with_its_pending_in_doubt(sqlite, client):
    lost = []
    for _ in range(2):
        send_one(sqlite.guard, sqlite.store)
        lost.append(rows(sqlite.store, ATTEMPT)[-1].id)
    tick(sqlite.guard, sqlite.store)
    sqlite.restore()
    found = adoption.check_store(sqlite.store, client)
    assert found.is_behind
    assert [(row.id, row.pending) for row in found.waiting] == [(sqlite.campaign, 6)]
    doubted = adoption.adopt_and_recheck(sqlite.store, client, doubt=True)
    assert doubted == {sqlite.campaign: 6}
    assert states(sqlite.store) == ["submitted"] * 3 + ["in_doubt"] * 6
    assert tick(sqlite.started_again(), sqlite.store) is None
    # A late answer to a lost attempt cannot be taken for the answer to a new one.
    add_campaign(sqlite.store, first=919_900_000_000)
    _held, (attempt,) = submitting(sqlite.store)
    assert attempt > max(lost)
    (campaign,) = rows(sqlite.store, CAMPAIGN, CAMPAIGN.c.id == sqlite.campaign)
    assert campaign.on_doubt == "hold"
    actions = [row.action for row in rows(sqlite.store, AUDIT)]
    assert actions == ["campaign doubted", "store adopted"]


@pytest.mark.parametrize(
    ("witnessed", "sent", "first_id"), [(0, 0, 1), (0, 1, 2), (40, 0, 41), (40, 1, 41)]
)
def test_attempts_go_on_above_every_id_that_a_witness_has_seen(
    store, client, witnessed, sent, first_id
):
    add_campaign(store, sizes=(3, 3))
    for _ in range(sent):
        submitted(store)
    with store.write() as conn:
        store_identity.ensure_identity(conn)
        store_identity.update_identity(conn, witnessed_id=witnessed)
    adoption.adopt_and_recheck(store, client, doubt=False)
    _held, (attempt,) = submitting(store)
    assert first_id <= attempt <= first_id + 1


def test_what_was_in_flight_when_the_backup_was_made_is_in_doubt_too(store, client):
    campaign = add_campaign(store, sizes=(3, 3, 3, 3))
    submitted(store)
    submitting(store)
    tickets = queued(store, limit=2)
    claim(store, tickets[0])
    adoption.adopt_and_recheck(store, client, doubt=True)
    assert counts_of(store, campaign) == {"submitted": 3, "in_doubt": 9}
    doubtful = [row for row in rows(store, ATTEMPT) if row.doubt_at is not None]
    assert {row.outcome for row in doubtful} == {AttemptOutcome.DOUBTFUL}
    assert sum(row.size for row in doubtful) == 9
    with store.write() as conn:
        assert batches.claim_batch(conn, tickets[1].id, tickets[1].fence, later(60)) is None


def test_a_campaign_that_starts_later_is_paused(store, client):
    """After the backup somebody may have set its start earlier, and it was sent."""
    far = NOW.replace(year=2090)
    campaign = add_campaign(store, state="scheduled", start_at=far)
    assert adoption.adopt_and_recheck(store, client, doubt=True) == {}
    assert counts_of(store, campaign) == {"pending": 3}
    (row,) = rows(store, CAMPAIGN)
    assert (row.state, row.state_reason) == ("paused", store_adoption.RESTORED)


def test_a_moved_store_goes_on_as_it_is(sqlite, client, tmp_path):
    sqlite.restore()
    sqlite.beside.unlink()
    other = tmp_path / "other"
    assert_held(sqlite.store, RollbackGuard(sqlite.store, folder=other), ".witness")
    assert adoption.adopt_and_recheck(sqlite.store, client, doubt=False) == {}
    assert tick(RollbackGuard(sqlite.store, folder=other), sqlite.store) is None
    assert len(released(sqlite.store)) == 2
    assert BatchState.QUEUED in {batch.state for batch in rows(sqlite.store, batches.BATCH)}


def test_a_new_identity_is_given_once(store):
    with store.write() as conn:
        first = store_identity.ensure_identity(conn)
    with store.write() as conn:
        assert store_identity.ensure_identity(conn).store_id == first.store_id


def test_workers_are_not_stalled_while_the_store_is_held(store):
    """Queued batches wait for a person then: restarting the worker would not help."""
    add_campaign(store)
    (waiting,) = queued(store)
    services = SimpleNamespace(
        store=store,
        settings=SimpleNamespace(accounts=["main"]),
        rollback_guard=SimpleNamespace(redis_answers=lambda: True),
    )
    watchdog = Watchdog(services, after_s=0, threads=8)
    assert watchdog.find_stalled() == [waiting.id]
    with store.write() as conn:
        store_identity.ensure_identity(conn)
        store_identity.update_identity(conn, held="the store is an older copy of itself")
    assert watchdog.find_stalled() == []


@pytest.mark.parametrize(("actor", "told"), [("ann", "ann"), (None, current_person())])
def test_who_adopted_a_store_is_noted(sqlite_store, client, actor, told):
    add_campaign(sqlite_store)
    adoption.adopt_and_recheck(sqlite_store, client, doubt=False, actor=actor)
    assert [row.actor for row in rows(sqlite_store, AUDIT)] == [told]


def test_a_mark_is_kept_where_redis_cannot_read_it_now(sqlite_store, client):
    guard, key = guard_with_key(sqlite_store, client)

    class Loading:
        def get(self, _key):
            raise ResponseError("LOADING Redis is loading the dataset in memory")

        def delete(self, _key):
            raise AssertionError("it is dropped")

    guard._client = Loading()
    assert guard.read_redis_mark() == 0
    assert client.exists(key)


# --- What others wrote to our key in Redis ------------------------------------------------------


@pytest.mark.parametrize("value", [b"inf", b"nan", b"-1", b"", b"1e9", b"9" * 19, b"9" * 5000])
def test_a_mark_in_redis_that_is_no_id_is_dropped_once(store, client, caplog, value):
    guard, key = guard_with_key(store, client)
    client.set(key, value)
    assert tick(guard, store) is None
    assert not client.exists(key)
    assert tick(guard, store) is None
    assert caplog.text.count("is not an attempt's id: it is dropped") == 1


def test_an_id_of_as_many_digits_as_one_can_have_is_read(sqlite_store, client):
    guard, key = guard_with_key(sqlite_store, client)
    client.set(key, b"9" * 18)
    assert guard.read_redis_mark() == 999_999_999_999_999_999


@pytest.mark.parametrize(
    "write",
    [
        lambda client, key: client.rpush(key, 5), lambda client, key: client.hset(key, "a", 5),
        lambda client, key: client.sadd(key, 5), lambda client, key: client.zadd(key, {"a": 5}),
    ],
)  # fmt: skip
def test_a_mark_of_another_type_is_dropped_and_written_again(store, client, write):
    guard, key = guard_with_key(store, client)
    client.delete(key)
    write(client, key)
    assert tick(guard, store) is None
    assert not client.exists(key)
    add_campaign(store, first=919_900_000_000)
    send_one(guard, store)
    assert tick(guard, store) is None
    assert int(client.get(key)) > 0


def guard_with_key(store, client):
    """A guard that has sent something, and the key of its mark."""
    add_campaign(store)
    guard = RollbackGuard(store, client=client)
    assert tick(guard, store) is None
    send_one(guard, store)
    assert tick(guard, store) is None
    (key,) = client.keys("*witness*")
    return guard, key


def test_a_store_as_old_as_its_witness_is_not_behind(store, client):
    add_campaign(store, [1])
    submitting(store)
    guard = RollbackGuard(store, client=client)
    with store.write() as conn:
        guard.check_and_hold(conn)
    guard.save_marks()
    checked = adoption.check_store(store, client)
    assert (checked.held, checked.is_behind) == (None, False)


def test_attempts_that_are_recorded_before_the_first_look_are_no_error(store, client):
    guard = RollbackGuard(store, client=client)
    guard.record_attempts([7])
    with store.write() as conn:
        assert guard.may_claim(conn)


def test_redis_is_not_asked_about_a_store_without_an_identity(sqlite_store, folder):
    with sqlite_store.write() as conn:
        conn.execute(IDENTITY.delete())
    never_asked = SimpleNamespace()
    guard = RollbackGuard(sqlite_store, client=never_asked, folder=folder)
    assert guard.read_redis_mark() == 0


def test_redis_answers_or_not(sqlite_store, folder, client):
    server = fakeredis.FakeServer()
    server.connected = False
    with closing(fakeredis.FakeRedis(server=server)) as away:
        clients = [client, away, None]
        found = [
            RollbackGuard(sqlite_store, client=one, folder=folder).redis_answers()
            for one in clients
        ]
    assert found == [True, False, False]
