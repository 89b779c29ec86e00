"""Real Redis servers: a primary, its replica, and three Sentinels that watch them; also with TLS.

The wheel's server speaks no TLS: then a `redis-server` or `valkey-server` on PATH must.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from dispatcher.errors import BrokerError
from dispatcher.local.broker import celery_url, find_server_binary, redis_client
from tests.support.stage import wait_for
from tests.support.tls import make_certificate

PASSWORD = "not-a-real-password"
MASTER_NAME = "mymaster"
_HOST = "127.0.0.1"
_SENTINELS = 3
_DOWN_AFTER_MS = 1500


@dataclass(frozen=True)
class SentinelServers:
    """What runs: the URL for `[broker]`, the authority for `ca_file`, and the primary's process."""

    url: str
    ca_file: Path | None
    primary: subprocess.Popen[bytes]

    @property
    def client_url(self) -> str:
        """The URL for clients of these servers."""
        return celery_url(self.url, "sqlite:///unused.db", self.ca_file)

    def answers(self) -> bool:
        """Whether the Sentinels name a primary that answers."""
        try:
            with redis_client(self.client_url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((_HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


class _Servers:
    """Starts servers in `folder`, each with a folder and a log of its own."""

    def __init__(self, folder: Path, certificate: Path | None, stack: ExitStack) -> None:
        self._folder = folder
        self._certificate = certificate
        self._stack = stack
        self._binary = find_server_binary()

    def start(
        self, name: str, port: int, options: dict[str, str], *args: str
    ) -> "subprocess.Popen[bytes]":
        """Start a server by a file of options; it is killed with the stack."""
        home = self._folder / name
        home.mkdir()
        file = home / "server.conf"
        lines = [f"{key} {value}" for key, value in (self._listening(port) | options).items()]
        file.write_text("\n".join(lines))
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [self._binary, file, *args], cwd=home, stdout=log, stderr=subprocess.STDOUT
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _listening(self, port: int) -> dict[str, str]:
        if self._certificate is None:
            return {"port": str(port), "bind": _HOST}
        file = str(self._certificate)
        return {
            "port": "0", "tls-port": str(port), "bind": _HOST, "tls-replication": "yes",
            "tls-cert-file": file, "tls-key-file": file, "tls-ca-cert-file": file,
            "tls-auth-clients": "no",
        }  # fmt: skip


@contextmanager
def sentinel_servers(folder: Path, *, has_tls: bool = False) -> Iterator[SentinelServers]:
    """A primary, its replica and three Sentinels that know each other and both."""
    certificate = make_certificate(folder / "certificate", _HOST) if has_tls else None
    primary_port, replica_port, *watchers = free_ports(2 + _SENTINELS)
    shared = {"save": '""', "requirepass": PASSWORD, "masterauth": PASSWORD}
    with ExitStack() as stack:
        servers = _Servers(folder, certificate, stack)
        primary = servers.start("primary", primary_port, shared)
        of_primary = {"replicaof": f"{_HOST} {primary_port}"}
        servers.start("replica", replica_port, shared | of_primary)
        scheme = "rediss" if has_tls else "redis"
        ca_file = certificate and certificate.with_name("cert.pem")
        replica = f"{scheme}://:{PASSWORD}@{_HOST}:{replica_port}/0"
        wait_for(partial(_is_linked, replica, ca_file), "the replica")
        for number, port in enumerate(watchers):
            # The monitored server first: the other lines are about it.
            watched = {
                "sentinel monitor": f"{MASTER_NAME} {_HOST} {primary_port} 2",
                "sentinel auth-pass": f"{MASTER_NAME} {PASSWORD}",
                "sentinel down-after-milliseconds": f"{MASTER_NAME} {_DOWN_AFTER_MS}",
                "sentinel failover-timeout": f"{MASTER_NAME} 5000",
            }
            servers.start(f"sentinel{number}", port, watched, "--sentinel")
        for port in watchers:
            url = f"{scheme}://{_HOST}:{port}/0"
            wait_for(partial(_knows_all, url, ca_file), "a Sentinel to know the others")
        hosts = ";".join(f"{_HOST}:{port}" for port in watchers)
        kind = "sentinels" if has_tls else "sentinel"
        url = f"{kind}://:{PASSWORD}@{hosts}/0?master_name={MASTER_NAME}"
        yield SentinelServers(url, ca_file, primary)


def check_tls_server() -> None:
    """Raise BrokerError unless this machine's Redis server speaks TLS."""
    binary = find_server_binary()
    asked = [str(binary), "--port", "0", "--tls-port", "1", "--save", ""]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    if "tls-cert-file" not in said.stdout + said.stderr:
        raise BrokerError(
            f"{binary} speaks no TLS", "put a redis-server that does before it on PATH"
        )


def _is_linked(url: str, ca_file: Path | None) -> bool:
    """Whether a replica follows its primary."""
    try:
        with redis_client(celery_url(url, "sqlite:///unused.db", ca_file)) as client:
            return bool(client.info("replication").get("master_link_status") == "up")
    except redis.RedisError:
        return False


def _knows_all(url: str, ca_file: Path | None) -> bool:
    """Whether a Sentinel sees the replica and the other Sentinels."""
    found = {"num-slaves": 1, "num-other-sentinels": _SENTINELS - 1}
    try:
        with redis_client(celery_url(url, "sqlite:///unused.db", ca_file)) as client:
            seen = client.sentinel_master(MASTER_NAME)
            return {name: seen.get(name) for name in found} == found
    except redis.RedisError:
        return False
