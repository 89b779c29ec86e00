"""How a process ends that is asked to."""

import signal
import subprocess
import sys

import pytest

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
