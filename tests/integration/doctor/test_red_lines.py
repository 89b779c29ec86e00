"""The lines of `dispatcher doctor` that stop everything are seen red, each with a remedy.

The other checks are seen in `test_checks.py`; the receiver's in `integration/receiver/`, TLS and
a restored store in `acceptance/`.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dispatcher.config.settings import load_settings
from dispatcher.doctor import run_checks
from dispatcher.policy.breaker import Breaker
from dispatcher.store import scheduler, stops, store_identity
from dispatcher.store.engine import Store, store_now
from tests.support import stores
from tests.support.cli import write_config


@pytest.fixture
def settings(tmp_path, sqlite_url):
    return load_settings(write_config(tmp_path, sqlite_url), {})


def red_lines(settings, part):
    """What is red in a part; each line says what to do."""
    found = [one for one in run_checks(settings) if (one.level, one.part) == ("red", part)]
    assert all(one.remedy or part == "configuration" for one in found)
    return [one.what for one in found]


def change_section(settings, section, **values):
    changed = getattr(settings, section).model_copy(update=values)
    return settings.model_copy(update={section: changed})


def make_doubt(store):
    stores.add_campaign(store)
    held, (attempt,) = stores.submitting(store, [[0, 1, 2]])
    stores.settle(store, held, attempt, stores.verdict(doubtful=[0, 1, 2]))


def stop_everything(store):
    stores.add_account(store)
    with store.write() as conn:
        stops.stop_accounts(conn, None, actor="asha@mail1", reason="fire", now=store_now(conn))


def add_small_worker(store):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "one", 1, store_now(conn))


def leave_answer(suffix: str) -> Callable[[Store], None]:
    def leave(store):
        folder = Path(f"{store.url.database}.spill")
        folder.mkdir(mode=0o700)
        (folder / f"1{suffix}").touch(mode=0o600)

    return leave


def hold_store(store):
    with store.write() as conn:
        store_identity.ensure_identity(conn)
        conn.execute(store_identity.IDENTITY.update().values(held="its backup was restored"))


def make_witness_unreadable(store):
    """A folder in its place: nobody can read it, root neither."""
    with store.write() as conn:
        store_identity.ensure_identity(conn)
    Path(f"{store.url.database}.witness").mkdir()


def do_nothing(_store):
    """The line is red in a store that nothing has ever run on."""


@pytest.mark.parametrize(
    ("spoil", "part", "words"),
    [
        (do_nothing, "broker", "the embedded broker"),
        (do_nothing, "scheduler", "never seen"),
        (do_nothing, "workers", "none seen"),
        (add_small_worker, "workers", "one, 1 threads"),
        (leave_answer(".json"), "store", "1 answers wait in"),
        (leave_answer(".aside"), "store", "belong to no attempt in this store"),
        (hold_store, "store", "nothing is sent: its backup was restored"),
        (make_witness_unreadable, "store", ".witness cannot be read: Is a directory"),
        (stop_everything, "accounts", "EVERYTHING IS STOPPED by asha@mail1"),
        (make_doubt, "campaigns", "3 recipients are IN DOUBT"),
    ],
)
def test_what_stops_everything_is_red(settings, sqlite_store, spoil, part, words):
    spoil(sqlite_store)
    assert any(words in what for what in red_lines(settings, part))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"paused_by": "operator", "pause_reason": "maintenance"}, "main is paused"),
        ({"breaker": Breaker.OPEN, "breaker_at": stores.NOW}, "main"),
        ({"breaker": Breaker.TRIAL, "breaker_at": stores.NOW}, "to accept one recipient"),
    ],
)
def test_an_account_out_of_service_is_red(settings, sqlite_store, values, words):
    stores.add_account(sqlite_store, **values)
    (what,) = red_lines(settings, "accounts")
    assert words in what


def test_a_store_without_tables_or_server_is_red(settings, tmp_path):
    for url, words in (
        (f"sqlite:///{tmp_path}/new.db", "has no tables yet"),
        ("postgresql://nobody@127.0.0.1:9/none", "127.0.0.1:9"),
    ):
        (what,) = red_lines(change_section(settings, "store", url=url), "store")
        assert words in what


def test_a_broker_that_another_store_uses_is_red(settings, broker, redis_connection, tmp_path):
    with closing(Store(settings.store.url)) as store, store.write() as conn:
        store_identity.ensure_identity(conn)
    redis_connection.set("dispatcher:store", "of-another-store", ex=60)
    found = red_lines(change_section(settings, "broker", url=broker.url), "broker")
    assert any("another store" in what for what in found)


def test_a_configuration_without_accounts_is_red(settings):
    given = settings.model_copy(update={"accounts": {}})
    assert red_lines(given, "configuration") == ["no account is configured: nothing can be sent"]


def test_a_number_in_allow_only_that_cannot_be_read_is_red(settings):
    main = settings.accounts["main"].model_copy(update={"allow_only": ("123",)})
    (what,) = red_lines(settings.model_copy(update={"accounts": {"main": main}}), "accounts")
    assert what.startswith("main: ")
