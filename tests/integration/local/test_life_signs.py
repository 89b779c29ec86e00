"""sd_notify and the file of the health check, with a real socket."""

import socket

import pytest

from dispatcher.local.life_signs import LifeSigns


@pytest.fixture(params=["path", "abstract"])
def notices(request, tmp_path):
    """A socket as systemd's, with its address as systemd writes it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(1)
        yield server, address.replace("\0", "@")


def test_systemd_learns_that_a_process_is_ready_lives_and_stops(notices):
    server, address = notices
    signs = LifeSigns({"NOTIFY_SOCKET": address})
    signs.send_ready()
    signs.send_stopping()
    assert [server.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_however_often_it_is_called_a_second_has_one_sign(notices):
    server, address = notices
    signs = LifeSigns({"NOTIFY_SOCKET": address})
    for _ in range(50):
        signs.send_alive()
    assert server.recv(99) == b"WATCHDOG=1"
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.recv(99)


def test_a_file_is_touched_for_the_health_check(tmp_path):
    file = tmp_path / "alive"
    LifeSigns({"DISPATCHER_ALIVE_FILE": str(file)}).send_alive()
    assert file.exists()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"DISPATCHER_ALIVE_FILE": "/nowhere/at/all"},
    ],
)
def test_where_nobody_listens_nothing_happens(environ):
    signs = LifeSigns(environ)
    signs.send_ready()
    signs.send_stopping()
