"""Each check of `dispatcher doctor` is seen red or yellow, with a remedy, and green."""

import json
import threading
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update

from dispatcher import __version__
from dispatcher.campaigns.view import load_view
from dispatcher.cli.campaign.progress import stop_reason
from dispatcher.config.notify_settings import NotifySettings
from dispatcher.config.settings import load_settings
from dispatcher.doctor import machine, run_checks, sending, services
from dispatcher.doctor.asking import ask_providers
from dispatcher.store import notice_sources, notices, scheduler
from dispatcher.store.engine import Store, store_now
from dispatcher.store.notices import NewNotice
from dispatcher.store.tables import ATTEMPT, CAMPAIGN, NOTICE
from tests.support import stores
from tests.support.cli import clean_environment, in_process
from tests.support.terminal import on_terminal

ACCOUNT_TABLE = """
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v1"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
"""


@pytest.fixture
def config(tmp_path, sqlite_url):
    """A configuration over the test's store."""
    path = tmp_path / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(f'[store]\nurl = "{sqlite_url}"\n{ACCOUNT_TABLE}', encoding="utf-8")
    return path


@pytest.fixture
def settings(config):
    return load_settings(config, {})


def levels(found):
    """What was found, without remedies; a problem has one."""
    found = list(found)
    assert all(one.remedy for one in found if one.level != "green")
    return [(one.level, one.part) for one in found]


def now(store):
    with store.read() as conn:
        return store_now(conn)


# --- This machine -----------------------------------------------------------------------------


def test_files_that_everybody_can_read_are_red(sqlite_store, settings, tmp_path):
    secret, spill = tmp_path / "secret", tmp_path / "spill"
    secret.write_text("s" * 16)
    spill.mkdir(mode=0o755)
    Path(sqlite_store.url.database).chmod(0o644)
    secret.chmod(0o644)
    given = settings.model_copy(
        update={
            "notify": NotifySettings(url="http://127.0.0.1:9/", secret_file=secret),
            "worker": settings.worker.model_copy(update={"spill_dir": spill}),
        }
    )
    wrong = [("red", "configuration"), ("red", "store"), ("red", "store")]
    assert sorted(levels(machine.check_files(given, sqlite_store))) == wrong
    for path in (secret, Path(sqlite_store.url.database)):
        path.chmod(0o600)
    spill.chmod(0o700)
    assert levels(machine.check_files(given, sqlite_store)) == []
    secret.unlink()
    assert levels(machine.check_files(given, sqlite_store)) == [("red", "configuration")]


@pytest.mark.parametrize(
    ("free", "level"), [(2 << 30, "green"), (500 << 20, "yellow"), (1 << 20, "red")]
)
def test_a_full_disk_is_named(sqlite_store, settings, free, level):
    assert levels(machine.check_disk(settings, sqlite_store, lambda _path: free)) == [
        (level, "disk")
    ]


@contextmanager
def flower(status):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "level"), [(200, "red"), (401, "green")])
def test_flower_that_answers_the_network_without_a_password_is_red(status, level):
    with flower(status) as port:
        # Not 127.0.0.1, but this machine all the same.
        assert levels(machine.check_flower(["127.0.0.2"], port)) == [(level, "flower")]
    assert levels(machine.check_flower(["127.0.0.2"], port)) == [("green", "flower")]


def test_only_addresses_of_this_machine_are_asked(monkeypatch):
    found = [(None, None, None, "", (one, 0)) for one in ("127.0.0.1", "192.0.2.1")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: found)
    assert machine.own_addresses() == []


# --- Broker, workers, notices -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({}, []),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 0}, [("green", "broker settings")]),
        ({"maxmemory_policy": "allkeys-lru"}, [("yellow", "broker settings")]),
        (
            {"maxmemory_policy": "noeviction", "rdb_last_bgsave_status": "err"},
            [("yellow", "broker settings")],
        ),
    ],
)
def test_how_the_broker_is_set_up(info, found):
    assert levels(services.check_broker_setup(info)) == found


def test_the_setup_and_the_clock_of_a_real_broker_are_read(broker, settings):
    url = broker.url
    given = settings.model_copy(update={"broker": settings.broker.model_copy(update={"url": url})})
    info, ahead_s = services.read_broker(given)
    assert info["maxmemory_policy"] == "noeviction"
    assert ahead_s == pytest.approx(0, abs=60)


@pytest.mark.parametrize(
    ("version", "found"),
    [(__version__, []), (None, []), ("0.0.0", [("yellow", "workers")])],
)
def test_a_worker_of_another_version_is_named(store, version, found):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "one", 4, stores.NOW, version=version)
        (worker,) = scheduler.list_workers(conn, stores.NOW)
    assert levels(services.check_worker(worker)) == found


def test_notices_that_did_not_go_out_are_yellow(store, settings):
    assert levels(services.check_notices(store, settings)) == [("green", "notices")]
    given = settings.model_copy(update={"notify": NotifySettings(command=("page",))})
    with store.write() as conn:
        notices.add_notices(conn, [NewNotice("test", "x", {})], ["command"], store_now(conn))
    assert levels(services.check_notices(store, given)) == [("green", "notices")]
    with store.write() as conn:
        conn.execute(update(NOTICE).values(error="it ended with 1"))
    assert levels(services.check_notices(store, given)) == [("yellow", "notices")]


@pytest.mark.parametrize(
    ("processes", "keys", "level"),
    [
        (1, {}, "green"),
        (2, {"max_connections": 24}, "yellow"),
        (3, {}, "red"),
        (3, {"max_connections": 12}, "green"),
    ],
)
def test_connections_of_all_workers_are_compared_with_the_servers(
    postgres_url, settings, processes, keys, level
):
    given = settings.model_copy(update={"worker": settings.worker.model_copy(update=keys)})
    with closing(Store(postgres_url)) as store:
        (found,) = services.check_connections(store, given, processes=processes)
    assert found.level == level
    assert found.what.endswith("connections of 57" if level == "green" else "would be refused")
    assert (found.remedy is None) == (level == "green")


@pytest.mark.parametrize(
    ("processes", "threads", "level"), [(1, 200, None), (1, 16, "yellow"), (8, 16, None)]
)
def test_batches_that_find_no_thread_are_a_warning(settings, processes, threads, level):
    worker = settings.worker.model_copy(update={"max_threads": threads})
    accounts = {
        name: one.model_copy(update={"max_in_flight": 40})
        for name, one in list(settings.accounts.items())[:1]
    }
    given = settings.model_copy(update={"worker": worker, "accounts": accounts})
    found = [each.level for each in services.check_threads(given, processes=processes)]
    assert found == ([level] if level else [])


def test_sqlite_has_no_limit_of_connections(sqlite_store, settings):
    assert list(services.check_connections(sqlite_store, settings, processes=99)) == []


# --- What is sent -----------------------------------------------------------------------------


def test_a_campaign_that_stands_still_is_red(store, settings):
    stores.add_campaign(store, (3,))
    found = list(sending.check_standstill(store, settings))
    assert levels(found) == [("red", "sending")]
    assert "campaign 1 stands still: 3 messages are due" in found[0].what


def test_a_campaign_of_which_something_left_a_moment_ago_does_not_stand_still(store, settings):
    stores.add_campaign(store, (3, 3))
    stores.submitting(store)
    with store.write() as conn:
        conn.execute(update(ATTEMPT).values(begun_at=store_now(conn)))
    assert levels(sending.check_standstill(store, settings)) == []


def test_a_campaign_that_waits_for_its_check_is_named_and_does_not_stand_still(store, settings):
    stores.add_campaign(store, (3,))
    stores.add_campaign(store, (3,), recheck_at=now(store))
    (still,) = sending.check_standstill(store, settings)
    assert "campaign 1 stands still" in still.what
    found = list(sending.check_lateness(store, settings))
    assert levels(found) == [("yellow", "sending")]
    assert "campaign 2 waits for its check at the provider" in found[0].what
    shown = load_view(store, "2")
    assert stop_reason(shown) == "waits for its check at the provider"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, []),
        ({"rate": 0.001}, [("yellow", "sending")]),
        ({"account": "gone"}, [("red", "sending")]),
    ],
)
def test_a_campaign_that_will_be_late_is_named(store, settings, values, found):
    stores.add_campaign(store, (50,))
    with store.write() as conn:
        ends = {"expire_at": store_now(conn) + timedelta(hours=1)}
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, **ends, **values)
    assert levels(sending.check_lateness(store, settings)) == found
    with store.write() as conn:
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, account="main")


@pytest.mark.parametrize(("balance", "found"), [("10", [("yellow", "accounts")]), ("500", [])])
def test_a_balance_below_the_mark_is_yellow(store, settings, balance, found):
    stores.add_account(store)
    given = settings.model_copy(
        update={"notify": NotifySettings(command=("page",), balance_below=100)}
    )
    assert levels(sending.check_balances(store, given)) == []
    with store.write() as conn:
        notice_sources.save_balance(conn, "main", json.dumps({"bulk": balance}), stores.NOW)
    assert levels(sending.check_balances(store, given)) == found


def test_a_mark_of_millions_is_written_out(store, settings):
    stores.add_account(store)
    notify = NotifySettings(command=("page",), balance_below=2_000_000)
    with store.write() as conn:
        notice_sources.save_balance(conn, "main", json.dumps({"bulk": "10"}), stores.NOW)
    (low,) = sending.check_balances(store, settings.model_copy(update={"notify": notify}))
    assert "10 left of bulk, below 2000000 " in low.what


# --- The providers ----------------------------------------------------------------------------


def asking(settings, simulator, **values):
    url = simulator.base_url("thesmspoint")
    own = settings.accounts["main"].model_copy(update={"base_url": url, **values})
    return levels(ask_providers(settings.model_copy(update={"accounts": {"main": own}})))


def test_the_providers_are_asked_for_key_balance_and_sender(settings, simulator):
    assert asking(settings, simulator) == [("green", "accounts")] * 2
    assert asking(settings, simulator, sender="UNKNOWN") == [
        ("green", "accounts"), ("red", "accounts"),
    ]  # fmt: skip


def test_a_provider_that_cannot_be_reached_is_red(settings):
    assert levels(ask_providers(settings)) == [("red", "accounts")]


# --- The command ------------------------------------------------------------------------------


def test_everything_is_checked_and_the_exit_code_is_that_of_the_worst(config, tmp_path):
    ended = in_process("--config", str(config), "doctor", "--json", folder=tmp_path)
    found = json.loads(ended.out)
    parts = {one["part"] for one in found}
    assert {"configuration", "store", "disk", "clocks", "notices", "flower"} <= parts
    assert ended.code == 1
    assert {one["level"] for one in found if not one["ok"]} == {"red"}
    assert [set(one) for one in found] == [{"part", "ok", "what", "remedy", "level"}] * len(found)


def test_warnings_alone_end_with_0(config, tmp_path, monkeypatch):
    from dispatcher.doctor.result import CheckResult

    only = CheckResult(part="disk", ok=True, is_warning=True, what="low", remedy="free some")
    monkeypatch.setattr("dispatcher.doctor.run_checks", lambda *_, **__: iter([only]))
    ended = in_process("--config", str(config), "doctor", folder=tmp_path)
    assert (ended.code, ended.out) == (
        0,
        f"warning  disk             low\n{'':26}→ free some\n",
    )


def test_watching_without_a_terminal_prints_changes_only(config, tmp_path, monkeypatch):
    from dispatcher.doctor.result import CheckResult

    low = CheckResult(part="disk", ok=True, is_warning=True, what="low", remedy="free some")
    looks = iter([[low], [low], []])

    def look(*_args, **_given):
        try:
            return iter(next(looks))
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("dispatcher.doctor.run_checks", look)
    monkeypatch.setattr("time.sleep", lambda _s: None)
    ended = in_process("--config", str(config), "doctor", "--watch", "5", folder=tmp_path)
    assert (ended.code, ended.out.splitlines()) == (
        130,
        [
            "warning  disk             low",
            f"{'':26}→ free some",
            "ok       disk             no longer yellow: low",
        ],
    )


def test_watching_on_a_terminal_draws_the_list_anew_until_ctrl_c(config, tmp_path):
    words = "again every 5 s, until Ctrl-C"
    shown = on_terminal(
        ["-m", "dispatcher", "--config", str(config), "doctor", "--watch", "5"],
        typed="\x03",
        after=words,
        columns=100,
        env=clean_environment(tmp_path),
    )
    cleared, _, drawn = shown.shown.partition("\x1b[2J")
    assert (cleared, shown.code) == ("", 130)
    assert "ok       configuration" in drawn
    assert drawn.count(words) == 1
    assert "Traceback" not in drawn


def test_all_checks_run_over_a_store_with_campaigns(store, settings):
    stores.add_campaign(store)
    url = store.url.render_as_string(hide_password=False)
    given = settings.model_copy(update={"store": settings.store.model_copy(update={"url": url})})
    assert {one.part for one in run_checks(given)} >= {"clocks", "sending"}
