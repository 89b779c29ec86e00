"""The servers that tests may ask for, and the promise that no process outlives the session."""

import gc
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlmodel  # noqa: F401 - before any table: tests have SQLModel's classes (declaration.py)
from execnet.xspec import XSpec
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support.compiled_statements import share_compiled_statements
from tests.support.compiled_tests import compile_tests
from tests.support.folders import FOLDER, environment_of_run, folder_of_run
from tests.support.forked_workers import fork_workers

# A shell's background jobs ignore Ctrl-C, and so would every process that we start.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# What is collected stays until the end: looking through it for garbage, again and again, would take
# a fourth of the time of the tests that compute.
gc.disable()
#: As many new objects between two looks, so that garbage still goes soon.
_NEW_OBJECTS = 20_000

tempfile.tempdir = str(FOLDER)

#: The user's own folder for state, in which no test may leave anything.
_REAL_STATE = Path("~/.local/state/dispatcher").expanduser()

share_compiled_statements()

pytest_plugins = ["tests.support.broker_server", "tests.support.postgres_server"]


#: What takes longest comes first, so that nobody waits for one of these in the end.
_LONGEST = [
    "providers/test_fuzz", "acceptance/test_chaos", "acceptance/test_windows_and_rates",
    "acceptance/test_main_job", "acceptance/test_soak", "acceptance/test_doubt",
    "acceptance/test_broker_refuses", "acceptance/test_provider_faults",
    "acceptance/test_outages", "acceptance/test_account_health",
    "acceptance/test_restored_backup", "acceptance/test_broker_messages", "acceptance/test_up",
    "acceptance/test_crashes", "acceptance/test_demo", "acceptance/test_rehearse",
    "acceptance/test_units", "acceptance/test_providers", "acceptance/test_pause_resume_cancel",
    "integration/workers/test_turn_promises", "acceptance/test_throttled_accounts",
    "acceptance/test_earlier_version",
    "integration/test_promises_model", "integration/submission/test_import_killed",
    "integration/outbound/test_days_of_campaigns", "integration/outbound/test_transport",
    "integration/test_mutants", "integration/submission/test_campaign_import",
    "integration/store/test_engine", "unit/windows/test_schedule", "unit/test_mutants",
]  # fmt: skip
#: Files whose tests are long and share nothing: each test goes to a free process.
_SINGLY = {
    "acceptance/test_chaos", "acceptance/test_outages", "acceptance/test_earlier_version",
    "integration/workers/test_turn_promises", "integration/submission/test_import_killed",
    "integration/outbound/test_days_of_campaigns",
}  # fmt: skip
#: Besides the tests over real processes: files that mostly wait, and have clocks.
_WAITING = {"integration/workers/test_turn_promises"}
#: How much a process that computes lets the others go first.
_NICE = 3


def pytest_configure() -> None:
    """Let others go first in a process that computes."""
    if _computes(os.environ.get("PYTEST_XDIST_WORKER", "")):
        os.nice(_NICE)


def _computes(process: str) -> bool:
    """Whether a process is for tests that compute: `gw1` and `gw4` of seven."""
    return process.startswith("gw") and int(process[2:]) % 3 == 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Before many processes read the tests, compile what is not compiled yet, once."""
    if session.config.getoption("numprocesses", None):
        compile_tests(Path(__file__).parent)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[XSpec]) -> None:
    """Fork the processes from one that has imported the tests."""
    if sys.platform == "linux":
        folder = Path(tempfile.mkdtemp(prefix="tests-"))
        fork_workers(specs, config.args, folder, environment_of_run(folder))


def pytest_collection_finish() -> None:
    """From here on look for garbage, but only in what the tests make."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """A file goes to one process, so that its tests share what is dear to make."""
    config.option.loadscopereorder = False
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return nodeid if _file(nodeid) in _SINGLY else _file(nodeid)

    def _reschedule(self, node: WorkerController) -> None:
        """Give no process more ahead than it needs: another one may be free sooner."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """The next unit of the node's kind; of the other, where its own is used up."""
        computes = _computes(node.gateway.id)
        for unit in self.workqueue:
            if _waits(unit) is not computes:
                self.workqueue.move_to_end(unit, last=False)
                break
        super()._assign_work_unit(node)


def _waits(unit: str) -> bool:
    """Whether tests mostly wait: for processes, and for times to come."""
    return _file(unit).startswith("acceptance/") or _file(unit) in _WAITING


def _file(nodeid: str) -> str:
    """`tests/unit/test_cli.py::test_help` is of `unit/test_cli`."""
    return nodeid.partition(".py::")[0].removeprefix("tests/")


def _rank(nodeid: str) -> int:
    return _LONGEST.index(_file(nodeid)) if _file(nodeid) in _LONGEST else len(_LONGEST)


_SERVER = re.compile(r"from multiprocessing\.(resource_tracker|forkserver) import main")


def left_running(seconds: float) -> list[str]:
    """The command lines of this process's descendants that have not ended within `seconds`.

    Python's resource tracker and the server that forks warm processes live as long as we do. The
    server may be another's child.
    """
    me = psutil.Process()
    servers = [child for child in me.children() if _SERVER.search(" ".join(_command(child)))]
    found = [child for child in me.children(recursive=True) if child not in servers]
    for forked in multiprocessing.active_children():
        with suppress(psutil.NoSuchProcess):
            found += [process := psutil.Process(forked.pid), *process.children(recursive=True)]
    _, ours = psutil.wait_procs(found, timeout=0)
    _, alive = psutil.wait_procs(ours, timeout=seconds)
    return [" ".join(_command(child)) for child in alive]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [process.name()]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the program keeps beside its stores, such as witnesses, stays in the run's folder.

    In CI, where nobody else works, a test that leaves something in the user's folder fails the run.
    """
    before = list_state()
    with pytest.MonkeyPatch.context() as environment:
        if folder_of_run() is None:  # else it is set for all processes of the run
            environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
    left = list_state() - before
    assert not left or not os.environ.get("CI"), f"left in {_REAL_STATE}: {sorted(left)}"


def list_state() -> set[str]:
    """The names in the user's own folder for state."""
    return {path.name for path in _REAL_STATE.glob("*")}


@pytest.fixture(scope="session", autouse=True)
def no_process_outlives_the_session() -> Iterator[None]:
    """Set up first, so torn down last: after the servers of the session."""
    yield
    left = left_running(5)
    assert not left, f"left running: {left}"
