"""The simulator as a process and as an object: ready line, end, ledger file, ports, imports."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading

import pytest

from dispatcher.errors import DispatcherError, UsageProblem
from dispatcher.simulator import ReceiptPlan, Simulator
from tests.support.simulator import SINGLE, SimulatorProcess, bulk, post

COMMAND = [sys.executable, "-m", "dispatcher", "simulator"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_cleanly_on_a_signal(number):
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--seed", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert "thesmspoint http://127.0.0.1:" in line
    assert "/thesmspoint/api/v1" in line
    assert "seed 5" in line
    assert (process.returncode, rest, errors) == (0, "", "")


def test_it_ends_at_once_while_requests_hang():
    simulator = SimulatorProcess().start()
    simulator.fault("hang_after", params={"seconds": 600})
    client = threading.Thread(
        target=pytest.raises, args=(OSError, post, simulator, "send-single-sms", SINGLE)
    )
    client.start()
    simulator.wait_for("accepted", 1)
    assert simulator.stop(timeout_s=10) == 0
    client.join(timeout=10)
    assert not client.is_alive()
    assert simulator.errors == ""


def test_a_port_in_use_is_one_sentence_with_a_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--ledger", "/nowhere/sent.jsonl"], 1, "cannot be written"),
        (["--scale", "0"], 2, "above 0"),
        (["--delivered", "0.9", "--undelivered", "0.2"], 2, "must be 0 or more and 1 together"),
    ],
)
def test_wrong_options_are_sentences(options, code, says):
    done = subprocess.run(
        [*COMMAND, "--port", "0", *options], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert says in done.stderr


def test_help_names_the_magic_numbers_and_has_an_example():
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, timeout=20, check=True
    )
    assert "Example:" in done.stdout
    for number in range(55500001, 55500006):
        assert str(number) in done.stdout


def test_the_ledger_file_has_what_was_accepted_when_the_process_is_killed(tmp_path):
    path = tmp_path / "sent.jsonl"
    path.write_text('{"number": "from an earlier run"}\n')
    simulator = SimulatorProcess(ledger=path).start()
    recipients = [(f"91900000{index:04d}", f"Hello {index}") for index in range(2000)]
    post(simulator, "send-bulk-sms", bulk(recipients))
    simulator.kill()
    earlier, *lines = path.read_text().splitlines()
    assert "earlier" in earlier
    entries = [json.loads(line) for line in lines]
    assert [(entry["number"], entry["text"]) for entry in entries] == recipients


def test_control_shows_only_this_run_of_a_ledger_file(tmp_path):
    path = tmp_path / "sent.jsonl"
    path.write_text('{"number": "from an earlier run"}\n')
    with SimulatorProcess(ledger=path) as simulator:
        assert simulator.ledger() == []
        post(simulator, "send-single-sms", SINGLE)
        assert [entry["number"] for entry in simulator.ledger()] == ["919954654365"]
        simulator.reset()
        assert simulator.ledger() == []
    assert len(path.read_text().splitlines()) == 2


def test_it_does_not_load_the_rest_of_the_program():
    heavy = {"celery", "kombu", "sqlalchemy", "sqlmodel", "pydantic", "redis", "phonenumbers"}
    code = f"import sys, dispatcher.simulator; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_object_listens_on_loopback_only_and_frees_its_port(tmp_path):
    async def life() -> int:
        simulator = Simulator(plan=ReceiptPlan(), ledger=tmp_path / "sent.jsonl")
        with pytest.raises(UsageProblem, match="loopback only"):
            await simulator.start(host="0.0.0.0")
        await simulator.start()
        assert simulator.base_url("thesmspoint").endswith(f":{simulator.port}/thesmspoint/api/v1")
        with pytest.raises(UsageProblem, match="does not simulate nobody"):
            simulator.base_url("nobody")
        other = Simulator()
        with pytest.raises(DispatcherError, match="is in use"):
            await other.start(port=simulator.port)
        await simulator.stop()
        return simulator.port

    port = asyncio.run(life())
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_it_leaves_no_file_behind_without_a_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with SimulatorProcess() as simulator:
        post(simulator, "send-single-sms", SINGLE)
        assert len(simulator.ledger()) == 1
        assert list(tmp_path.iterdir()) == []
        simulator.kill()
    assert list(tmp_path.iterdir()) == []
