"""The fixtures that others rely on: for every test a fresh database and an empty broker."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect, text

from tests.conftest import left_running
from tests.support import postgres_server as postgres
from tests.support import warm


@pytest.fixture
def rows(postgres_url):
    """A table that exists only in this test's database."""
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE made_by_a_test (n int)"))
        yield connection
    engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("time", ["first", "second"])
def test_every_test_has_a_database_of_its_own(rows, time):
    rows.execute(text("INSERT INTO made_by_a_test VALUES (1)"))
    assert rows.scalar(text("SELECT count(*) FROM made_by_a_test")) == 1


@pytest.mark.postgres
def test_the_database_has_the_stores_tables_and_the_empty_one_none(
    postgres_url, empty_postgres_url
):
    tables = []
    for url in (postgres_url, empty_postgres_url):
        engine = create_engine(url)
        tables.append(set(inspect(engine).get_table_names()))
        engine.dispose()
    assert {"campaign", "batch", "message"} <= tables[0]
    assert tables[1] == set()


@pytest.mark.postgres
def test_the_server_speaks_utf8_and_runs_without_privileges(postgres_server, postgres_url):
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
        assert connection.scalar(text("SHOW listen_addresses")) == ""
    engine.dispose()
    owner = (postgres_server.folder / "data").stat().st_uid
    assert owner == (os.getuid() or postgres.NOBODY)


@pytest.mark.parametrize(
    ("in_ci", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)]
)
def test_without_a_server_a_test_is_skipped_but_fails_in_ci(in_ci, outcome):
    with pytest.raises(outcome, match="no PostgreSQL server on this machine: no wheel"):
        postgres.unavailable(ImportError("no wheel"), in_ci=in_ci)


@pytest.mark.parametrize("time", ["first", "second"])
def test_every_test_has_an_empty_broker(redis_connection, redis_url, time):
    assert redis_url.startswith("redis+socket:///")
    assert redis_connection.dbsize() == 0
    redis_connection.set("left", "over")


def test_a_process_left_running_is_found():
    child = subprocess.Popen(
        [sys.executable, "-c", "input('left by a test')"], stdin=subprocess.PIPE
    )
    try:
        assert any("left by a test" in command for command in left_running(0.1))
    finally:
        child.communicate()


def test_a_forked_process_left_running_is_found(tmp_path):
    process = warm.spawn("http.server", ["0"], folder=tmp_path, env={}, out=tmp_path / "log")
    try:
        assert any("forkserver" in command for command in left_running(0.1))
    finally:
        process.kill()
        process.wait()
