"""Backups are one moment of a store in use, and restored only into an empty one."""

import json
import stat
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, select

from dispatcher.errors import StateRefused, StoreError, WrongPath
from dispatcher.recovery.backup import write_backup
from dispatcher.recovery.restore import restore_backup
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.store.engine import Store
from dispatcher.store.tables import ATTEMPT, CAMPAIGN, MESSAGE
from tests.support.cli import in_process, write_config
from tests.support.stores import add_campaign, assert_counts_agree, order, rows, submit, submitted

ODD = 'phone,name\n9800000001,"back\\slash \\N\ttab"\n9800000002,"two\nlines ✓"\n,none\n'


@pytest.fixture
def used(store_url):
    """A store with campaigns, requests, and texts that are hard to copy."""
    with closing(Store(store_url)) as store:
        add_campaign(store, [3])
        submitted(store)
        submit(store, order(ODD, text="Hi {{name}}"))
        yield store


@pytest.fixture
def target(request, used, tmp_path):
    """An empty store of the same kind."""
    url = f"sqlite:///{tmp_path}/restored.db"
    if not used.is_sqlite:
        url = request.getfixturevalue("empty_postgres_url")
    with closing(Store(url)) as store:
        yield store


def content(store):
    """Every row of every table."""
    with store.read() as conn:
        metadata = MetaData()
        metadata.reflect(conn)
        return {
            table.name: sorted(str(tuple(row)) for row in conn.execute(select(table)))
            for table in metadata.sorted_tables
        }


def test_a_backup_that_is_restored_has_every_row_and_goes_on_counting(used, target, tmp_path):
    path = tmp_path / "store.backup"
    done = write_backup(used, path)
    assert (done.content.campaigns, done.content.messages, done.content.attempt_id) == (2, 5, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.size == path.stat().st_size
    assert restore_backup(target, path) == done.content
    assert content(target) == content(used)
    add_campaign(target, [1], first=919_700_000_000)
    assert [row.id for row in rows(target, CAMPAIGN)] == [1, 2, 3]


def test_a_restored_backup_is_recognised_although_its_witnesses_stayed(used, target, tmp_path):
    guard = RollbackGuard(used, folder=tmp_path / "state")
    with used.write() as conn:
        assert guard.check_and_hold(conn) is None
    guard.save_marks()
    write_backup(used, tmp_path / "store.backup")
    restore_backup(target, tmp_path / "store.backup")
    with target.write() as conn:
        held = RollbackGuard(target, folder=tmp_path / "state").check_and_hold(conn)
    assert held is not None
    assert "db adopt" in held


def test_a_backup_holds_whole_campaigns_while_others_write(used, target, tmp_path):
    ended = threading.Event()

    def write_campaigns():
        with closing(Store(used.url.render_as_string(hide_password=False))) as other:
            for place in range(200):
                if ended.is_set():
                    return
                add_campaign(other, [5], first=919_700_000_000 + 5 * place)

    writer = threading.Thread(target=write_campaigns)
    writer.start()
    write_backup(used, tmp_path / "store.backup")
    ended.set()
    writer.join()
    restore_backup(target, tmp_path / "store.backup")
    sizes = Counter(row.campaign_id for row in rows(target, MESSAGE))
    assert sizes == {row.id: row.total for row in rows(target, CAMPAIGN)}
    assert_counts_agree(target)


def test_a_backup_overwrites_nothing_and_leaves_nothing_when_it_fails(used, tmp_path):
    path = tmp_path / "store.backup"
    path.write_text("mine")
    with pytest.raises(WrongPath, match="exists already"):
        write_backup(used, path)
    assert path.read_text() == "mine"
    with pytest.raises(WrongPath, match="cannot be written"):
        write_backup(used, tmp_path / "gone" / "store.backup")
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")] == []


@pytest.mark.parametrize("spoil", ["cut", "changed"])
def test_a_damaged_backup_is_not_restored(used, target, tmp_path, spoil):
    path = tmp_path / "store.backup"
    write_backup(used, path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        whole[:middle]
        if spoil == "cut"
        else whole[: middle - 3000] + b"\x55" * 6000 + whole[middle + 3000 :]
    )
    with pytest.raises(StoreError, match="damaged"):
        restore_backup(target, path)


def test_a_store_is_never_overwritten(used, tmp_path):
    path = tmp_path / "store.backup"
    write_backup(used, path)
    before = content(used)
    with pytest.raises(StateRefused, match="never overwritten"):
        restore_backup(used, path)
    assert content(used) == before


def test_a_log_that_was_left_behind_is_not_put_beside_a_restored_file(sqlite_url, tmp_path):
    with closing(Store(sqlite_url)) as store:
        write_backup(store, tmp_path / "store.backup")
    left = Path(f"{tmp_path}/new.db-wal")
    left.write_bytes(b"x")
    refused = pytest.raises(StateRefused, match=r"new\.db-wal exists")
    with closing(Store(f"sqlite:///{tmp_path}/new.db")) as store, refused:
        restore_backup(store, tmp_path / "store.backup")


def test_the_commands_say_what_they_did(sqlite_store, tmp_path):
    add_campaign(sqlite_store, [3])
    submitted(sqlite_store)
    assert rows(sqlite_store, ATTEMPT)

    def run(database, *args):
        config = write_config(tmp_path, f"sqlite:///{database}")
        return in_process("--config", str(config), *args, folder=tmp_path)

    path = str(tmp_path / "store.backup")
    made = run(sqlite_store.url.database, "db", "backup", path, "--json")
    assert json.loads(made.out)["attempt_id"] == 1
    restored = run(tmp_path / "new.db", "db", "restore", path)
    assert restored.out.splitlines()[1:] == [
        "run `dispatcher db adopt` next: it says what may have been sent since the backup",
        "opt-outs and erasures since the backup are not in it: make them again first",
    ]
    refused = run(tmp_path / "new.db", "db", "restore", path)
    assert (refused.code, "never overwritten" in refused.err) == (3, True)
