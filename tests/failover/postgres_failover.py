"""A PostgreSQL primary is killed in the middle of a campaign, and its standby is promoted.

Without a synchronous standby the last commits are lost with it: nothing may be sent until a person
has said so (`db adopt`), and then who got a text is found in the provider's own list. With one,
nothing is lost: `db adopt --moved`, and the campaign goes on.
"""

import time
from contextlib import ExitStack

from tests.failover.postgres_servers import postgres_pair
from tests.support.stage import KEY, Campaign, Stage, disagreements, stage, wait_for

FIRST = 919_840_000_000
TEXT = "Your order is ready."
#: On a busy machine everything takes its time.
_PATIENCE_S = 300
_WORKERS = ("worker1", "worker2")
#: A provider with a list, in which doubt is settled.
_ACCOUNT = {
    "provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None,
    "max_recipients": 20, "max_in_flight": 8, "timeout_s": 5,
}  # fmt: skip
_LOOKED_AT_S = 8


def run_postgres_failover(count: int, rate: int, *, commit: str) -> list[str]:
    """Kill the primary when a third is submitted; what was found wrong, which should be nothing.

    `commit`: `off` for a standby that commits do not wait for, else the `synchronous_commit` with
    which they do.
    """
    is_lossy = commit == "off"
    with ExitStack() as stack:
        pair = stack.enter_context(postgres_pair())
        account = _ACCOUNT | {"messages_per_second": rate}
        worker = {"reconcile_after_s": 0.5}
        ours = stack.enter_context(
            stage(
                accounts={"main": account}, worker=worker, store_url=pair.url, is_guarded=False
            )
        )  # fmt: skip
        if not is_lossy:
            pair.make_synchronous(commit)
        _start_all(ours)
        campaign = ours.submit(ours.people(count, first=FIRST), "--text", TEXT)
        campaign.wait_until(
            lambda v: v.total_submitted > count / 3, "a third", within_s=_PATIENCE_S
        )
        if is_lossy:
            pair.stop_replication()
            before = campaign.view.total_submitted
            campaign.wait_until(
                lambda v: v.total_submitted > before + count / 10, "what will be lost"
            )
        known = campaign.view.total_submitted
        pair.kill_primary()
        pair.promote_standby()
        ours.store.close()
        wrong = _find_sent_while_held(ours, campaign, known, is_lossy=is_lossy)
        for name in (*_WORKERS, "beat"):
            ours.stop(name, within_s=60)
        if is_lossy:
            refused = ours.run("db", "adopt", "--moved", "--yes")
            if refused.code != 3:
                wrong.append("adopt --moved was not refused although commits were lost")
        adopted = ours.run("db", "adopt", *([] if is_lossy else ["--moved"]), "--yes")
        if adopted.code != 0:
            wrong.append(f"adopt: {adopted.err}")
        _start_all(ours)
        over = campaign.wait_until_over(within_s=_PATIENCE_S)
        wrong += disagreements(campaign.export(), ours.provider.ledger(), lambda _row: TEXT)
        if over.total_submitted != count:
            wrong.append(f"{over.total_submitted} of {count} were submitted: {over.counts}")
        return wrong


def _start_all(ours: Stage) -> None:
    """Beat, and two workers with state folders of their own, as on two machines."""
    ours.celery("beat", "-l", "info", "--pidfile=")
    for name in _WORKERS:
        home = ours.folder / name
        home.mkdir(exist_ok=True)
        ours.start_worker(name=name, env={"XDG_STATE_HOME": str(home)})


def _find_sent_while_held(
    ours: Stage, campaign: Campaign, known: int, *, is_lossy: bool
) -> list[str]:
    """Wait until workers have seen the new server, and see that they send nothing there."""
    wait_for(
        lambda: any("nothing is released" in ours.said(name) for name in _WORKERS),
        "the workers to notice",
        within_s=_PATIENCE_S,
    )
    accepted = ours.provider.stats()["accepted"]
    kept = campaign.view.total_submitted
    print(f"{known} submitted when the primary was killed; {kept} in the standby", flush=True)
    wrong = []
    if is_lossy == (kept >= known):
        wrong.append(f"the standby knows {kept} of {known}")
    until = time.monotonic() + _LOOKED_AT_S
    while time.monotonic() < until:
        time.sleep(0.5)
    if (now := ours.provider.stats()["accepted"]) != accepted:
        wrong.append(f"{now - accepted} were sent while the store is held")
    if not campaign.view.counts["pending"]:
        wrong.append("nothing was left to send")
    return wrong
