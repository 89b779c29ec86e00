"""rediss://: every process verifies the server's certificate before it sends the password."""

import json
from contextlib import contextmanager

import pytest

from tests.support import warm
from tests.support.cli import clean_environment, in_process
from tests.support.guarded_store import prepare_store
from tests.support.stage import wait_for
from tests.support.tls import make_certificate, recording_server

PASSWORD = "a-broker-password"
ROLES = {
    "worker": ["worker", "--without-mingle", "--without-gossip"],
    "beat": ["beat", "--pidfile=", "--schedule=beat.db"],
    "flower": ["flower", "--port=0"],
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Self-made ones: for this address, and for another name."""
    folder = tmp_path_factory.mktemp("certificates")
    return {
        name: make_certificate(folder / name, name) for name in ("127.0.0.1", "redis.example.com")
    }


def configure(folder, server, *, options="", ca_file=None):
    url = f"rediss://dispatcher:{PASSWORD}@127.0.0.1:{server.port}/0{options}"
    lines = [f"[broker]\nurl = {json.dumps(url)}"]
    lines += [f"ca_file = {json.dumps(str(ca_file))}"] if ca_file else []
    (folder / "dispatcher.toml").write_text("\n".join(lines), encoding="utf-8")
    (folder / "dispatcher.toml").chmod(0o600)
    prepare_store(f"sqlite:///{folder / 'dispatcher.db'}", has_tables=True, is_guarded=True)


@contextmanager
def running(role, folder):
    env = clean_environment(folder) | {"FLOWER_UNAUTHENTICATED_API": "false"}
    argv = ["-q", "-A", "workers", *ROLES[role]]
    process = warm.spawn("celery", argv, folder=folder, env=env, out=folder / f"{role}.log")
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("trusts", ["nobody", "the other name's authority"])
def test_a_process_does_not_send_its_password_to_a_server_with_another_certificate(
    role, trusts, certificates, tmp_path
):
    other = certificates["redis.example.com"]
    with recording_server(other) as server:
        configure(tmp_path, server, ca_file=other if trusts != "nobody" else None)
        with running(role, tmp_path):
            wait_for(lambda: server.connections >= 2, "two connections")
        assert server.received == b""
    assert PASSWORD not in (tmp_path / f"{role}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("role", ROLES)
def test_a_process_trusts_a_server_by_the_configured_authority(role, certificates, tmp_path):
    own = certificates["127.0.0.1"]
    with recording_server(own) as server:
        configure(tmp_path, server, ca_file=own)
        with running(role, tmp_path):
            wait_for(lambda: PASSWORD.encode() in server.received, "a password")


def run_doctor(folder):
    env = {"DISPATCHER_CONFIG": str(folder / "dispatcher.toml")}
    return in_process("doctor", "--json", folder=folder, env=env)


@pytest.mark.parametrize(
    ("name", "trusts", "said"),
    [
        ("redis.example.com", None, "self-signed certificate"),
        ("127.0.0.1", None, "self-signed certificate"),
        ("redis.example.com", "redis.example.com", "IP address mismatch"),
        (None, None, "does not speak TLS"),
    ],
)
def test_doctor_names_a_certificate_that_cannot_be_verified(
    name, trusts, said, certificates, tmp_path
):
    with recording_server(name and certificates[name]) as server:
        configure(tmp_path, server, ca_file=trusts and certificates[trusts])
        ended = run_doctor(tmp_path)
        found = [each for each in json.loads(ended.out) if each["part"] == "broker"]
        assert [each["ok"] for each in found] == [False]
        assert said in found[0]["what"]
        assert b"AUTH" not in server.received
    assert PASSWORD not in ended.out + ended.err


def test_doctor_says_that_a_url_switches_verification_off(certificates, tmp_path):
    with recording_server(certificates["redis.example.com"]) as server:
        configure(tmp_path, server, options="?ssl_cert_reqs=none")
    ended = run_doctor(tmp_path)
    (off, away) = [each for each in json.loads(ended.out) if each["part"] == "broker"]
    assert "ssl_cert_reqs=none" in off["what"]
    assert not off["ok"]
    assert not away["ok"]


@pytest.mark.parametrize("held", [None, "not a certificate"])
def test_an_authority_that_cannot_be_read_is_named_before_anything_starts(held, tmp_path):
    if held is not None:
        (tmp_path / "ca.pem").write_text(held, encoding="utf-8")
    with recording_server(None) as server:
        configure(tmp_path, server, ca_file="ca.pem")
        ended = run_doctor(tmp_path)
        (found,) = [each for each in json.loads(ended.out) if each["part"] == "broker"]
        assert str(tmp_path / "ca.pem") in found["what"]
        assert server.connections == 0
