"""The primary of a Redis server behind Sentinels is killed in the middle of a campaign.

Real processes: the servers, beat, and two workers with state folders of their own, as on two
machines. The Sentinels promote the replica. Then the provider's ledger is compared with the export.
"""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.failover.redis_servers import (
    PASSWORD,
    SentinelServers,
    check_tls_server,
    sentinel_servers,
)
from tests.support.stage import Stage, disagreements, stage, wait_for
from tests.support.tls import make_certificate

FIRST = 919_830_000_000
TEXT = "Your order is ready."
#: On a busy machine everything takes its time.
_PATIENCE_S = 300


def run_redis_failover(count: int, rate: int, *, has_tls: bool) -> list[str]:
    """Kill the primary when a third is submitted; what was found wrong, which should be nothing."""
    if has_tls:
        check_tls_server()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="failover-")))
        servers = stack.enter_context(sentinel_servers(folder, has_tls=has_tls))
        account = {"messages_per_second": rate, "max_recipients": 50, "max_in_flight": 8}
        ours = stack.enter_context(
            stage(accounts={"main": account}, own_broker=True, is_guarded=False)
        )
        ours.env["DISPATCHER_BROKER__URL"] = servers.url
        wrong = _find_broker_problems(ours, servers, folder)
        ours.celery("beat", "-l", "info", "--pidfile=")
        for name in ("worker1", "worker2"):
            home = folder / name
            home.mkdir()
            ours.start_worker(name=name, env={"XDG_STATE_HOME": str(home)})
        campaign = ours.submit(ours.people(count, first=FIRST), "--text", TEXT)
        campaign.wait_until(
            lambda view: view.total_submitted > count / 3, "a third", within_s=_PATIENCE_S
        )
        servers.primary.kill()
        killed = time.monotonic()
        wait_for(servers.answers, "a new primary", within_s=60)
        promoted_s = time.monotonic() - killed
        before = campaign.view.total_submitted
        campaign.wait_until(
            lambda view: view.total_submitted > before, "sending to go on", within_s=_PATIENCE_S
        )
        resumed_s = time.monotonic() - killed
        over = campaign.wait_until_over(within_s=_PATIENCE_S)
        print(
            f"{count} recipients at {rate}/s: a new primary after {promoted_s:.1f} s, sending went "
            f"on {resumed_s:.1f} s after the kill"
        )
        wrong += disagreements(campaign.export(), ours.provider.ledger(), lambda _row: TEXT)
        if over.total_submitted != count:
            wrong.append(f"{over.total_submitted} of {count} were submitted: {over.counts}")
        if any(PASSWORD in ours.said(name) for name in ("beat", "worker1", "worker2")):
            wrong.append("the password is in a log")
        return wrong


def _find_broker_problems(ours: Stage, servers: SentinelServers, folder: Path) -> list[str]:
    """What `doctor` says of the Sentinels; with TLS also that it refuses another authority's."""
    wrong = [f"doctor says: {said}" for said in _ask_doctor(ours) if servers.ca_file is None]
    if servers.ca_file is not None:
        other = make_certificate(folder / "other", "127.0.0.1")
        for trusted in ({}, {"DISPATCHER_BROKER__CA_FILE": str(other)}):
            said = _ask_doctor(ours, trusted)
            if not said or "certificate that cannot be verified" not in said[0]:
                wrong.append(f"doctor accepts a certificate that {trusted or 'nobody'} signed")
        ours.env["DISPATCHER_BROKER__CA_FILE"] = str(servers.ca_file)
        wrong += [f"doctor says: {said}" for said in _ask_doctor(ours)]
    return wrong


def _ask_doctor(ours: Stage, env: dict[str, str] | None = None) -> list[str]:
    """The problems of the broker, in its words."""
    said = ours.run("doctor", "--json", env=env).out
    assert PASSWORD not in said
    found = [each for each in json.loads(said) if each["part"] == "broker"]
    assert found
    return [each["what"] for each in found if not each["ok"]]
