"""The supervisor, with tiny children: output, readiness, restarts, and every way to end."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import pytest

from dispatcher.local.supervisor import Child, ChildFailed, Supervisor
from dispatcher.logs.console import TextConsole

SLEEPER = "import time; print('up and ready', flush=True); time.sleep(60)"
# Writes to a file that it got SIGTERM, then ends.
NOTES_ITS_END = """
    import signal, sys, time
    from pathlib import Path
    def end(*_):
        with Path(sys.argv[1]).open("a") as notes:
            notes.write(sys.argv[2] + " ")
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    print("up and ready", flush=True)
    time.sleep(60)
"""
IGNORES_SIGTERM = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up and ready", flush=True)
    time.sleep(60)
"""
# A whole program over one child; it says the child's pid, and how it was ended.
PROGRAM = """
    import sys
    from dispatcher.local.supervisor import Child, Supervisor
    from dispatcher.logs.console import TextConsole
    argv = [sys.executable, "-c", sys.argv[1]]
    with Supervisor(TextConsole(lambda text: print(text, flush=True))) as supervisor:
        supervisor.add_child(Child(name="child", argv=argv, ready_pattern="ready"))
        supervisor.run_until(lambda: supervisor.are_ready("child"))
        print("all ready", flush=True)
        supervisor.run_until(lambda: False)
        print("ending", flush=True)
    print("ended", flush=True)
"""


def python(code: str, *args: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]


def before(seconds: float) -> Callable[[], bool]:
    """For `run_until`: a deadline that fails the test."""
    deadline = time.monotonic() + seconds

    def never_done() -> bool:
        assert time.monotonic() < deadline, "it did not happen in time"
        return False

    return never_done


def run_until(supervisor: Supervisor, done: Callable[[], bool], seconds: float = 15) -> None:
    late = before(seconds)
    assert supervisor.run_until(lambda: done() or late())


def test_output_is_shown_under_the_childs_name_stderr_too():
    said: list[str] = []
    code = """
        import sys, time
        print("one", flush=True)
        print("two", file=sys.stderr, flush=True)
        time.sleep(60)
    """
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(Child(name="worker", argv=python(code)))
        run_until(supervisor, lambda: len(said) >= 2)
    assert said == ["worker| one", "worker| two"]


def test_hidden_lines_are_not_shown_but_can_make_ready():
    said: list[str] = []
    code = "import time; print('INFO ready'); print('WARNING late', flush=True); time.sleep(60)"
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(
            Child(name="w", argv=python(code), ready_pattern="ready$", hide="^INFO")
        )
        run_until(supervisor, lambda: bool(said))
        assert supervisor.are_ready("w")
    assert said == ["w| WARNING late"]


def test_a_child_is_not_ready_before_it_says_so(tmp_path):
    go = tmp_path / "go"
    code = """
        import sys, time
        from pathlib import Path
        print("starting", flush=True)
        while not Path(sys.argv[1]).exists():
            time.sleep(0.01)
        print("ready", flush=True)
        time.sleep(60)
    """
    said: list[str] = []
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(Child(name="w", argv=python(code, go), ready_pattern="ready"))
        run_until(supervisor, lambda: "w| starting" in said)
        assert not supervisor.are_ready("w")
        go.touch()
        run_until(supervisor, lambda: supervisor.are_ready("w"))


def test_half_a_line_is_shown_when_the_child_ends():
    said: list[str] = []
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(Child(name="w", argv=python("print('no line end', end='')")))
        run_until(supervisor, lambda: bool(said))
    assert said[0] == "w| no line end"


def test_a_child_that_ends_is_started_again_and_ready_again(tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        second = Path(sys.argv[1]).exists()
        Path(sys.argv[1]).touch()
        print("life", 2 if second else 1, flush=True)
        if not second:
            sys.exit(7)
        time.sleep(60)
    """
    said: list[str] = []
    with Supervisor(TextConsole(said.append), first_delay_s=0.01) as supervisor:
        argv = python(code, tmp_path / "mark")
        supervisor.add_child(Child(name="w", argv=argv, ready_pattern="life 2"))
        run_until(supervisor, lambda: supervisor.are_ready("w"))
    assert said == ["w| life 1", "w ended (status 7), restart in 0.0 s", "w| life 2"]


def test_the_delay_grows_and_the_fifth_end_is_an_error_with_the_last_lines():
    said: list[str] = []
    with Supervisor(TextConsole(said.append), first_delay_s=0.1) as supervisor:
        supervisor.add_child(Child(name="w", argv=python("raise SystemExit('no such broker')")))
        with pytest.raises(ChildFailed, match=r"w ended 5 times within 30 s:\n  no such broker"):
            supervisor.run_until(before(20))
    assert said.count("w| no such broker") == 5
    delays = [line.split()[-2] for line in said if "restart" in line]
    assert delays == ["0.1", "0.2", "0.4", "0.8"]


def test_a_program_that_does_not_exist_is_named():
    with Supervisor(TextConsole(lambda _: None), first_delay_s=0.01) as supervisor:
        supervisor.add_child(Child(name="w", argv=["/no/such/program"]))
        with pytest.raises(ChildFailed, match="/no/such/program"):
            supervisor.run_until(before(20))


def test_lower_waves_have_ended_before_higher_ones_are_asked_to(tmp_path):
    notes = tmp_path / "notes"
    said: list[str] = []
    with Supervisor(TextConsole(said.append)) as supervisor:
        for name, wave in (("flower", 2), ("worker", 1), ("beat", 0)):
            argv = python(NOTES_ITS_END, notes, name)
            supervisor.add_child(Child(name=name, argv=argv, ready_pattern="ready", wave=wave))
        run_until(supervisor, lambda: supervisor.are_ready("flower", "worker", "beat"))
    assert notes.read_text().split() == ["beat", "worker", "flower"]


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace():
    said: list[str] = []
    argv = python(IGNORES_SIGTERM)
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(Child(name="w", argv=argv, ready_pattern="ready", grace_s=0.1))
        run_until(supervisor, lambda: supervisor.are_ready("w"))
    assert said[-1] == "w was killed: it did not end in time"


def test_a_child_with_much_to_say_at_its_end_is_not_blocked_by_its_pipe():
    code = """
        import signal, sys, time
        def end(*_):
            print("x" * 1_000_000, flush=True)
            sys.exit()
        signal.signal(signal.SIGTERM, end)
        print("up and ready", flush=True)
        time.sleep(60)
    """
    said: list[str] = []
    with Supervisor(TextConsole(said.append)) as supervisor:
        supervisor.add_child(Child(name="w", argv=python(code), ready_pattern="ready", grace_s=30))
        run_until(supervisor, lambda: supervisor.are_ready("w"))
    assert sum(line.count("x") for line in said) == 1_000_000
    assert "killed" not in said[-1]


def test_when_nobody_reads_the_output_any_more_everything_ends():
    def say(text: str) -> None:
        raise BrokenPipeError

    others = psutil.Process().children()
    with Supervisor(TextConsole(say)) as supervisor:
        supervisor.add_child(Child(name="w", argv=python(SLEEPER)))
        assert supervisor.run_until(before(15)) is False
    assert set(psutil.Process().children()) <= set(others)


class Program:
    """`PROGRAM` over a child with `code`, as a process of its own."""

    def __init__(self, code: str) -> None:
        argv = python(PROGRAM, textwrap.dedent(code))
        root = Path(__file__).parents[3]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root)
        self.wait_for("all ready")
        self.child = psutil.Process(self.process.pid).children()[0]

    def wait_for(self, line: str) -> None:
        assert self.process.stdout is not None
        for found in self.process.stdout:
            if found.strip() == line:
                return
        pytest.fail(f"it never said {line!r}")

    def child_has_ended(self, seconds: float = 10) -> bool:
        gone, _ = psutil.wait_procs([self.child], timeout=seconds)
        return bool(gone) or self.child.status() == psutil.STATUS_ZOMBIE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_the_children_and_then_us(number):
    with Program(SLEEPER) as program:
        program.process.send_signal(number)
        program.wait_for("ended")
        assert program.process.wait(10) == 0
        assert program.child_has_ended()


def test_a_second_ctrl_c_does_not_wait_for_a_child_that_hangs():
    with Program(IGNORES_SIGTERM) as program:
        program.process.send_signal(signal.SIGINT)
        program.wait_for("ending")
        assert not program.child_has_ended(0)
        program.process.send_signal(signal.SIGINT)
        program.wait_for("ended")
        assert program.child_has_ended()


def test_a_terminals_ctrl_c_does_not_reach_the_children():
    with Program(SLEEPER) as program:
        assert os.getpgid(program.child.pid) == program.child.pid
        assert os.getsid(program.child.pid) == program.child.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_kill_9_ends_the_children_too():
    with Program(IGNORES_SIGTERM) as program:
        program.process.kill()
        assert program.child_has_ended()
