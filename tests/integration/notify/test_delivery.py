"""The calls themselves: a real receiver, real commands, and those that hang."""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from sqlalchemy import select, update

from dispatcher.config.notify_settings import NotifySettings
from dispatcher.notify.delivery import DeliveryFailed, deliver_notice
from dispatcher.notify.outbox import _PAUSES_S, send_due
from dispatcher.providers.base import Capabilities, StatusLookup
from dispatcher.store import notices
from dispatcher.store.engine import store_now
from dispatcher.store.notices import NewNotice
from dispatcher.store.tables import NOTICE
from tests.support.cli import in_process
from tests.support.stage import wait_for
from tests.support.webhook import receiver
from workers.notifier import Notifier

SECRET = "a-secret-of-a-test"
EVENT = NewNotice("account_paused", "account main", {"detail": "it is paused"})


@pytest.fixture
def hook():
    with receiver() as ours:
        yield ours


def posting(hook, **values):
    return NotifySettings(url=hook.url, secret=SECRET, **values)


def running(*code, **values):
    return NotifySettings(command=(sys.executable, "-c", "\n".join(code)), **values)


def add(store, channel):
    with store.write() as conn:
        notices.add_notices(conn, [EVENT], [channel], store_now(conn))


def row(store):
    with store.read() as conn:
        return conn.execute(select(NOTICE).where(NOTICE.c.kind != "begin")).one()


def make_due(store):
    with store.write() as conn:
        conn.execute(update(NOTICE).values(next_at=store_now(conn) - timedelta(seconds=1)))


def test_an_event_is_posted_once_as_json_and_signed(store, hook):
    add(store, "webhook")
    assert [send_due(store, posting(hook)) for _ in range(2)] == [1, 0]
    ((headers, body),) = hook.got
    event = json.loads(body)
    assert (event["event"], event["detail"]) == ("account_paused", "it is paused")
    assert headers["X-Dispatcher-Event-Id"] == event["id"]
    at, _, digest = headers["X-Dispatcher-Signature"].removeprefix("t=").partition(",v1=")
    signed = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256)
    assert digest == signed.hexdigest()
    assert abs(time.time() - int(at)) < 60


def test_a_refused_event_is_sent_again_with_its_id_and_given_up_in_the_end(sqlite_store, hook):
    add(sqlite_store, "webhook")
    # A redirect is a refusal too: nobody follows it to elsewhere.
    hook.statuses = [500, 302, *[503] * (len(_PAUSES_S) - 1)]
    for _ in range(len(_PAUSES_S) + 1):
        make_due(sqlite_store)
        assert send_due(sqlite_store, posting(hook)) == 0
    ended = row(sqlite_store)
    assert (ended.next_at, ended.sent_at, ended.error) == (None, None, "the answer is HTTP 503")
    assert {headers["X-Dispatcher-Event-Id"] for headers, _ in hook.got} == {ended.event_id}


def test_a_process_that_ended_in_the_middle_leaves_the_event_to_another(store, hook):
    add(store, "webhook")
    with store.write() as conn:
        now = store_now(conn)
        (due,) = notices.list_due(conn, ["webhook"], now, 1)
        assert notices.claim_notice(conn, due, now, now + timedelta(seconds=60))
        assert not notices.claim_notice(conn, due, now, now + timedelta(seconds=60))
    assert send_due(store, posting(hook)) == 0
    with store.write() as conn:
        conn.execute(update(NOTICE).values(lease_until=store_now(conn) - timedelta(seconds=1)))
    assert send_due(store, posting(hook)) == 1


def test_a_receiver_that_does_not_answer_is_left_after_the_time_limit(sqlite_store, hook):
    hook.answers.clear()
    add(sqlite_store, "webhook")
    assert send_due(sqlite_store, posting(hook, timeout_s=1)) == 0
    assert row(sqlite_store).error == "no answer within 1 s"


def test_a_command_gets_the_event(sqlite_store, tmp_path):
    out = tmp_path / "event"
    add(sqlite_store, "command")
    code = f"import os, sys; open({str(out)!r}, 'w').write(os.environ['DISPATCHER_EVENT'] + "
    assert send_due(sqlite_store, running(code + "sys.stdin.read())")) == 1
    assert out.read_text() == "account_paused" + row(sqlite_store).body


def test_a_command_that_hangs_is_killed_with_its_children(sqlite_store, tmp_path):
    pid = tmp_path / "pid"
    add(sqlite_store, "command")
    hangs = NotifySettings(
        command=("/bin/sh", "-c", f"sleep 60 & echo $! > {pid}; wait"), timeout_s=1
    )
    began = time.monotonic()
    assert send_due(sqlite_store, hangs) == 0
    assert time.monotonic() - began < 10
    assert row(sqlite_store).error.endswith("took longer than 1 s")
    child = int(pid.read_text())
    # Whoever inherits it may take a moment to notice its end.
    wait_for(lambda: not _runs(child), "the end of the command's child", within_s=10)


def _runs(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (running("raise SystemExit(3)"), "ended with 3"),
        (NotifySettings(command=("/nothing/here",)), "/nothing/here cannot be started"),
    ],
)
def test_a_command_that_fails_is_named(sqlite_store, wanted, why):
    add(sqlite_store, "command")
    assert send_due(sqlite_store, wanted) == 0
    assert why in row(sqlite_store).error


def test_a_secret_is_read_from_a_file_when_it_is_used(sqlite_store, hook, tmp_path):
    path = tmp_path / "secret"
    wanted = NotifySettings(url=hook.url, secret_file=path)
    add(sqlite_store, "webhook")
    with sqlite_store.read() as conn:
        (due,) = notices.list_due(conn, ["webhook"], store_now(conn), 1)
    with pytest.raises(DeliveryFailed, match="cannot be read"):
        deliver_notice(wanted, due)
    path.write_text("short\n")
    with pytest.raises(DeliveryFailed, match="fewer than 16"):
        deliver_notice(wanted, due)
    path.write_text(f"{SECRET}\n")
    deliver_notice(wanted, due, clock=lambda: 7)
    ((headers, body),) = hook.got
    expected = hmac.new(SECRET.encode(), b"7." + body, hashlib.sha256).hexdigest()
    assert headers["X-Dispatcher-Signature"] == f"t=7,v1={expected}"


class _Services:
    """As much of a worker's services as a pass needs."""

    def __init__(self, store, wanted):
        self.store = store
        self.settings = type("S", (), {"notify": wanted, "accounts": {}})()


def test_a_tick_does_not_wait_for_a_call_and_starts_no_second_one(sqlite_store, hook):
    hook.answers.clear()
    add(sqlite_store, "webhook")
    notifier, services = Notifier(), _Services(sqlite_store, posting(hook))
    began = time.monotonic()
    thread = notifier.start_pass(services)
    assert isinstance(thread, threading.Thread)
    notifier._next_at = 0
    assert notifier.start_pass(services) is None
    assert time.monotonic() - began < 1
    hook.answers.set()
    thread.join(10)
    assert row(sqlite_store).sent_at is not None


def test_without_notify_no_pass_begins(sqlite_store):
    assert Notifier().start_pass(_Services(sqlite_store, NotifySettings())) is None


def test_a_balance_is_watched_where_nobody_is_notified(sqlite_store):
    """For the alert, the dashboard and `doctor`: the page asks for `balance_below` only."""
    services = _Services(sqlite_store, NotifySettings(balance_below=1000))
    services.settings.accounts = {"main": None}
    asked = []
    services.provider_of = lambda name: asked.append(name) or _NoBalance()
    thread = Notifier().start_pass(services)
    assert isinstance(thread, threading.Thread)
    thread.join(10)
    assert asked == ["main"]


class _NoBalance:
    """A provider that does not tell it, so that nothing is asked."""

    capabilities = Capabilities(
        max_recipients=1, personal_texts=False, delivery_status=StatusLookup.NONE
    )


def config(folder, *lines):
    path = folder / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join(["[notify]", *lines]), encoding="utf-8")
    return ("--config", str(path))


def test_the_trial_is_sent_and_listed(tmp_path, hook, sqlite_url):
    env = {"DISPATCHER_STORE__URL": sqlite_url}
    given = config(tmp_path, f'url = "{hook.url}"', f'secret = "{SECRET}"', 'command = ["false"]')
    ended = in_process(*given, "notify", "test", folder=tmp_path, env=env)
    assert (ended.code, ended.out) == (1, "command: failed\nwebhook: the event was taken\n")
    assert "Error: command: false ended with 1\n" in ended.err
    assert json.loads(hook.got[0][1])["event"] == "test"
    listed = in_process(*given, "notify", "list", "--json", folder=tmp_path, env=env)
    found = {one["channel"]: one for one in json.loads(listed.out)}
    assert (found["command"]["sent_at"], found["command"]["error"]) == (None, "false ended with 1")
    assert found["webhook"]["sent_at"] is not None
    assert SECRET not in listed.out + ended.out + ended.err


def test_the_list_shows_each_time_once_and_in_the_zone_of_the_others(tmp_path, sqlite_store):
    over = NewNotice("finished", "campaign 2 2026-11-30T03:41:07.385723+00:00", {})
    with sqlite_store.write() as conn:
        notices.add_notices(conn, [over], ["command"], datetime(2026, 11, 30, 3, 41, 8, tzinfo=UTC))
    env = {"DISPATCHER_STORE__URL": f"sqlite:///{sqlite_store.url.database}"}
    ended = in_process(*config(tmp_path), "notify", "list", folder=tmp_path, env=env)
    assert "2026-11-30 03:41:08" in ended.out
    assert "campaign 2 " in ended.out
    assert "385723" not in ended.out


def test_without_a_way_the_trial_says_what_to_write(tmp_path, sqlite_url):
    ended = in_process(*config(tmp_path), "notify", "test", folder=tmp_path)
    assert ended.code == 2
    assert "nobody is notified: [notify] has neither a command nor a url" in ended.err


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['url = "http://example.com/"', f'secret = "{SECRET}"'], "plain http is allowed"),
        (['url = "https://example.com/"'], "needs a `secret`"),
        (['secret = "short"'], "at least 16 characters"),
        (['events = ["nothing"]'], "notify.events"),
        (['comand = ["x"]'], "did you mean command?"),
        (["timeout_s = 1000"], "notify.timeout_s"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, lines, why):
    ended = in_process(*config(tmp_path, *lines), "notify", "test", folder=tmp_path)
    assert ended.code == 2
    assert why in ended.err
    assert SECRET not in ended.err


def test_the_variables_are_keys_too(tmp_path, sqlite_url):
    out = tmp_path / "said"
    env = {
        "DISPATCHER_STORE__URL": sqlite_url,
        "DISPATCHER_NOTIFY__COMMAND": json.dumps(["/bin/sh", "-c", f"cat > {out}"]),
    }
    ended = in_process("notify", "test", folder=tmp_path, env={**env, "PATH": os.environ["PATH"]})
    assert ended.code == 0, ended.err
    assert json.loads(out.read_text())["event"] == "test"
