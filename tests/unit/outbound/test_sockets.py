"""The sockets of connections to providers."""

import socket
import sys
from contextlib import closing

import pytest

from dispatcher.outbound.connections import TCP_USER_TIMEOUT_MS, _new_socket


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option")
def test_what_is_written_and_never_acknowledged_ends_a_connection():
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))
    with closing(_new_socket(address)) as sock:
        timeout_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout_ms == TCP_USER_TIMEOUT_MS
