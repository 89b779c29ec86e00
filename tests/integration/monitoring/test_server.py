"""The exporter as a process and over HTTP: what it answers, refuses, and how it ends."""

import signal
import socket
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from dispatcher.errors import DispatcherError
from dispatcher.monitoring.server import serve_metrics
from tests.support import warm
from tests.support.cli import clean_environment, in_process
from tests.support.scraping import Scraper, settings_in
from tests.support.stage import wait_for


def fetched(url):
    try:
        with urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def registry(sqlite_store, tmp_path):
    return Scraper(sqlite_store, settings_in(tmp_path)).registry


def test_it_serves_metrics_and_health_and_nothing_else(registry):
    with serve_metrics(registry, "127.0.0.1", 0) as url:
        assert url.startswith("http://127.0.0.1:")
        code, text = fetched(url)
        assert (code, "\ndispatcher_store_up 1.0\n" in text) == (HTTPStatus.OK, True)
        root = url.removesuffix("/metrics")
        assert fetched(f"{root}/healthz") == (HTTPStatus.OK, "ok\n")
        assert fetched(f"{root}/")[0] == HTTPStatus.NOT_FOUND
        port = int(root.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(
    ("host", "says"), [("127.0.0.1", "is in use"), ("192.0.2.1", "cannot be opened")]
)
def test_an_address_that_cannot_be_had_is_a_sentence(registry, host, says):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DispatcherError, match=says), serve_metrics(registry, host, port):
            pass


def test_once_prints_them_and_ends(tmp_path, sqlite_url):
    settings_in(tmp_path, f'[store]\nurl = "{sqlite_url}"\n')
    ended = in_process("--config", str(tmp_path / "dispatcher.toml"), "metrics", "--once",
                       folder=tmp_path)  # fmt: skip
    assert ended.code == 0
    assert 'dispatcher_recipients{account="main",state="pending"} 0.0' in ended.out
    assert "dispatcher_store_up 1.0" in ended.out


def test_once_ends_with_1_where_the_store_is_away(tmp_path):
    settings_in(tmp_path, f'[store]\nurl = "sqlite:///{tmp_path}/none.db"\n')
    ended = in_process("--config", str(tmp_path / "dispatcher.toml"), "metrics", "--once",
                       folder=tmp_path)  # fmt: skip
    assert (ended.code, "dispatcher_store_up 0.0" in ended.out) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(tmp_path, sqlite_url, number):
    settings_in(tmp_path, f'[store]\nurl = "{sqlite_url}"\n')
    out, err = tmp_path / "out", tmp_path / "err"
    process = warm.spawn(
        "dispatcher", ["metrics", "--host", "0.0.0.0", "--port", "0"],
        folder=tmp_path, env=clean_environment(tmp_path), out=out, err=err,
    )  # fmt: skip
    try:
        wait_for(lambda: out.exists() and "/metrics\n" in out.read_text(), "the URL")
        url = out.read_text().removeprefix("metrics: ").strip().replace("0.0.0.0", "127.0.0.1")
        assert fetched(url)[0] == HTTPStatus.OK
        process.send_signal(number)
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert out.read_text().endswith("\nstopped\n")
    assert "without a password" in err.read_text()
    assert "Traceback" not in err.read_text()
