"""How a process ends that is asked to."""

import signal
import subprocess
import sys

import pytest

from dispatcher.local.signals import NotedInterrupts

CODE = """
import os, signal
from dispatcher.local.signals import end_by_sigterm_from_now
end_by_sigterm_from_now(pid={pid})
try:
    os.kill(os.getpid(), signal.SIGTERM)
finally:
    print("ended in order", flush=True)
"""


@pytest.mark.parametrize(
    ("pid", "code", "said"),
    [(1, 128 + signal.SIGTERM, "ended in order\n"), (2, -signal.SIGTERM, "")],
)
def test_only_the_first_process_of_a_container_needs_a_listener(pid, code, said):
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(pid=pid)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, said, "")


DROPPED = """
import os, signal, sys
from dispatcher.local.signals import NotedInterrupts

class Drops:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

with NotedInterrupts() as interrupts:
    interrupts.raise_noted()
    Drops()
    print("dropped", flush=True)
    try:
        interrupts.raise_noted()
    except KeyboardInterrupt:
        print("raised", flush=True)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_ctrl_c_that_python_drops_is_not_lost():
    ended = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "dropped\nraised\n"
    assert "KeyboardInterrupt" in ended.stderr  # Python says that it dropped it


def test_a_command_that_ignores_ctrl_c_goes_on_ignoring_it():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with NotedInterrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)
