"""A store of a test's own, on SQLite and on PostgreSQL, whose counts are checked after the test.

And a simulator for a module.
"""

import shutil
from contextlib import closing

import pytest
from sqlmodel import SQLModel

from dispatcher.store.engine import Store
from tests.support.guarded_store import guarded_file
from tests.support.lock_guard import check_lock_order
from tests.support.postgres_server import SharedDatabase
from tests.support.simulator import SimulatorProcess
from tests.support.stores import assert_counts_agree

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session", autouse=True)
def lock_order():
    """No test of the store locks rows against the order of `store/locks.py`."""
    with check_lock_order():
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A SQLite file with the store's tables, to copy."""
    path = tmp_path_factory.mktemp("store") / "template.db"
    path.write_bytes(guarded_file())
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """The URL of a SQLite store of this test's own, with its tables."""
    path = tmp_path / "store.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=BOTH)
def store_url(request):
    """The URL of a store with its tables, of this test's own."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=BOTH)
def empty_store_url(request, tmp_path):
    """The URL of a store without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("empty_postgres_url")


@pytest.fixture(scope="session")
def shared_postgres(postgres_server, postgres_template):
    """One database for many tests: emptying it is faster than making one."""
    with (
        postgres_server.database(postgres_template) as url,
        closing(SharedDatabase(url, [*SQLModel.metadata.tables])) as database,
    ):
        yield database


@pytest.fixture
def emptied_postgres_url(shared_postgres):
    """The shared database; every table is emptied after the test."""
    yield shared_postgres.url
    shared_postgres.empty()


@pytest.fixture(scope="session")
def open_postgres(shared_postgres):
    """The store of the shared database: a new connection costs more than most tests."""
    with closing(Store(shared_postgres.url)) as opened:
        yield opened


@pytest.fixture
def emptied_postgres(open_postgres, emptied_postgres_url):
    """The same, as if it had just been made."""
    return open_postgres


@pytest.fixture(params=BOTH)
def store(request):
    """An empty store. Whatever the test does, its counters agree with its messages in the end."""
    opened = request.getfixturevalue(f"emptied_{request.param}")
    yield opened
    assert_counts_agree(opened)


@pytest.fixture
def emptied_sqlite(sqlite_store):
    """A store on SQLite."""
    return sqlite_store


@pytest.fixture
def sqlite_store(sqlite_url):
    """An empty store on SQLite."""
    with closing(Store(sqlite_url)) as opened:
        yield opened


@pytest.fixture(scope="module")
def process():
    """A simulator whose receipts are final at once; it must end without a word."""
    with SimulatorProcess(seed=7, scale=1e6) as started:
        yield started
    assert started.errors == ""


@pytest.fixture
def simulator(process):
    """The module's simulator, as if it had just been started."""
    process.reset()
    return process
