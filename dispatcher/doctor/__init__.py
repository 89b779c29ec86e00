"""The checks of `dispatcher doctor`: does everything that a campaign needs work?"""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

from dispatcher.campaigns.view import SCHEDULER_SILENT_S, list_in_doubt, scheduler_silence_s
from dispatcher.config.proxies import describe_proxy
from dispatcher.config.settings import Settings
from dispatcher.doctor.clocks import check_clocks, check_worker_clock
from dispatcher.doctor.machine import check_disk, check_files, check_flower
from dispatcher.doctor.result import CheckResult
from dispatcher.doctor.sending import check_balances, check_lateness, check_standstill
from dispatcher.doctor.services import (
    check_broker_setup,
    check_connections,
    check_notices,
    check_receiver,
    check_threads,
    check_worker,
    read_broker,
)
from dispatcher.doctor.store_access import check_store_writable
from dispatcher.errors import BrokerError, ConfigError, StoreError
from dispatcher.local import broker
from dispatcher.local.broker_probe import probe_broker
from dispatcher.local.broker_tls import find_tls_problem
from dispatcher.local.celery import threads_needed
from dispatcher.numbers.allow_list import allowed_numbers
from dispatcher.outbound.rates import rate_wait
from dispatcher.policy.breaker import Breaker, describe_outage, wait_reason
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.recovery.broker_owner import OWNER_REMEDY, BrokerOwner
from dispatcher.recovery.mark_file import UnreadableMark
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.recovery.spill import open_spill
from dispatcher.store import accounts, corrections, imports, scheduler, stops
from dispatcher.store.engine import Store, store_now
from dispatcher.store.migrate import current_revision, revision_problem
from dispatcher.store.rows import AccountRow


def run_checks(settings: Settings, *, ask: bool = False) -> Iterator[CheckResult]:
    """Check configuration, store, broker, scheduler, workers, accounts, campaigns and machine.

    With `ask`, the providers are asked about the accounts too.
    """
    place = settings.path or "the environment"
    yield CheckResult(part="configuration", ok=True, what=f"read from {place}")
    for problem in settings.find_problems():
        yield CheckResult(part="configuration", ok=False, what=problem)
    yield from _describe_proxies(settings)
    with closing(Store(settings.store.url)) as store:
        results = list(_check_store(store))
        yield from results
        yield from check_files(settings, store)
        if store.is_sqlite or results[0].ok:
            yield from check_store_writable(store)
        asked = list(_check_broker(settings))
        yield from asked
        info, broker_ahead_s = read_broker(settings) if asked[-1].ok else ({}, None)
        yield from check_broker_setup(info)
        if results[0].ok:
            if asked[-1].ok:
                yield from _check_owner(store, settings)
            yield from _check_witness(store)
            yield from _check_spill(store, settings)
            yield _check_scheduler(store)
            yield from _check_workers(store, settings)
            yield from _check_accounts(store, settings)
            yield from _list_doubt(store)
            yield from _list_unfinished_imports(store)
            yield from _list_corrections(store)
            yield from check_clocks(store, broker_ahead_s)
            yield from check_balances(store, settings)
            yield from check_standstill(store, settings)
            yield from check_lateness(store, settings)
            yield from check_notices(store, settings)
            yield from check_receiver(store, settings)
        yield from check_disk(settings, store)
    yield from check_flower()
    if ask:
        from dispatcher.doctor.asking import ask_providers

        yield from ask_providers(settings)


def _check_store(store: Store) -> Iterator[CheckResult]:
    try:
        wrong = revision_problem(store)
    except StoreError as error:
        yield CheckResult(part="store", ok=False, what=error.message, remedy=error.hint)
        return
    if wrong is not None:
        remedy = "run `dispatcher db upgrade`, or `dispatcher up`"
        yield CheckResult(part="store", ok=False, what=wrong, remedy=remedy)
    else:
        yield CheckResult(
            part="store", ok=True, what=f"{store.name}, revision {current_revision(store)}"
        )
        if store.tls_words is not None:
            yield CheckResult(part="store", ok=True, what=store.tls_words)
        if not store.commits_are_durable():
            yield CheckResult(
                part="store",
                ok=False,
                what="the database server runs with fsync = off: after a power cut it may have "
                "lost what was sent, and messages may be sent twice",
                remedy="set `fsync = on` in postgresql.conf",
            )


def _check_broker(settings: Settings) -> Iterator[CheckResult]:
    is_embedded = settings.broker.url == "embedded"
    what = "the embedded broker" if is_embedded else "the configured Redis server"
    start = "start it with `dispatcher up`"
    remedy = start if is_embedded else "start it, or correct `url` under [broker]"
    try:
        url = broker.celery_url(settings.broker.url, settings.store.url, settings.broker.ca_file)
    except BrokerError as error:
        yield CheckResult(part="broker", ok=False, what=error.message, remedy=error.hint)
        return
    if (problem := find_tls_problem(url)) is not None:
        yield CheckResult(part="broker", ok=False, what=problem)
    try:
        version = probe_broker(url)
    except BrokerError as error:
        words = f"{what} {error.message}"
        yield CheckResult(part="broker", ok=False, what=words, remedy=error.hint or remedy)
    else:
        words = f"{what} answers and takes keys, version {version}"
        yield CheckResult(part="broker", ok=True, what=words)


def _check_owner(store: Store, settings: Settings) -> Iterator[CheckResult]:
    try:
        url = broker.celery_url(settings.broker.url, settings.store.url, settings.broker.ca_file)
        with closing(broker.redis_client(url)) as client:
            problem = BrokerOwner(store, client).find_problem()
    except BrokerError:  # named by the check of the broker
        return
    if problem is not None:
        what = f"nothing is sent: {problem}"
        yield CheckResult(part="broker", ok=False, what=what, remedy=OWNER_REMEDY)


def _check_witness(store: Store) -> Iterator[CheckResult]:
    try:
        held = RollbackGuard(store).find_hold_reason()
    except UnreadableMark as error:
        yield CheckResult(part="store", ok=False, what=error.message, remedy=error.hint)
        return
    if held is not None:
        remedy = "run `dispatcher db adopt`: it explains, asks, and allows sending again"
        yield CheckResult(part="store", ok=False, what=f"nothing is sent: {held}", remedy=remedy)


def _check_spill(store: Store, settings: Settings) -> Iterator[CheckResult]:
    spill = open_spill(store, settings.worker.spill_dir)
    waiting, aside = len(spill.waiting_files()), len(spill.quarantined_files())
    if waiting:
        remedy = "start a worker on this machine: it stores them first"
        what = f"{waiting} answers wait in {spill.folder} until they can be stored"
        yield CheckResult(part="store", ok=False, what=what, remedy=remedy)
    if aside:
        remedy = (
            "they show what a provider accepted: compare them with the campaign, then delete them"
        )
        what = f"{aside} answers in {spill.folder} belong to no attempt in this store"
        yield CheckResult(part="store", ok=False, what=what, remedy=remedy)


def _check_scheduler(store: Store) -> CheckResult:
    silence_s = scheduler_silence_s(store)
    if silence_s is None or silence_s > SCHEDULER_SILENT_S:
        seen = "never seen" if silence_s is None else f"not seen for {silence_s:.0f} s"
        remedy = "start `dispatcher up`, or `celery -A workers beat` and a worker"
        return CheckResult(part="scheduler", ok=False, what=seen, remedy=remedy)
    return CheckResult(part="scheduler", ok=True, what=f"last tick {max(0.0, silence_s):.1f} s ago")


def _check_workers(store: Store, settings: Settings) -> Iterator[CheckResult]:
    with store.read() as conn:
        since = store_now(conn) - timedelta(seconds=settings.worker.lease_s)
        seen = scheduler.list_workers(conn, since)
    if not seen:
        remedy = "start `dispatcher up`, or `celery -A workers worker`"
        yield CheckResult(part="workers", ok=False, what="none seen", remedy=remedy)
    needed = threads_needed(settings)
    remedy = (
        f"start it with {needed} threads (leave out -c): with fewer, a provider that hangs blocks "
        "the others"
    )
    for worker in seen:
        enough = worker.concurrency >= needed
        yield CheckResult(
            part="workers",
            ok=enough,
            what=f"{worker.name}, {worker.concurrency} threads",
            remedy=None if enough else remedy,
        )
        yield from check_worker(worker)
        yield from check_worker_clock(worker)
    yield from check_threads(settings, processes=max(1, len(seen)))
    yield from check_connections(store, settings, processes=max(1, len(seen)))


def _check_accounts(store: Store, settings: Settings) -> Iterator[CheckResult]:
    with store.read() as conn:
        known = accounts.all_accounts(conn)
        stop = stops.find_general_stop(conn)
        now = store_now(conn)
    if stop is not None:
        why = f": {stop.reason}" if stop.reason else ""
        what = f"EVERYTHING IS STOPPED by {stop.actor} since {stop.at:%Y-%m-%d %H:%M:%S} UTC{why}"
        yield CheckResult(part="accounts", ok=False, what=what, remedy="run `dispatcher go`")
    for name, account in settings.accounts.items():
        yield from _check_allow_list(name, account)
        row = known.get(name)
        outage = describe_outage(row) if row is not None else None
        if row is None or outage is None:
            waits_for = wait_reason(row, now) or rate_wait(settings.account(name), row, now)
            what = f"{name} is open" + (f"; it waits for {waits_for}" if waits_for else "")
            yield CheckResult(part="accounts", ok=True, what=what)
            continue
        what = f"{outage}; it waits for {wait_reason(row, now)}"
        yield CheckResult(part="accounts", ok=False, what=what, remedy=_remedy_for(row))


def _check_allow_list(name: str, account: ProviderSettings) -> Iterator[CheckResult]:
    try:
        allowed = allowed_numbers(account.allow_only, account.country)
    except ConfigError as error:
        yield CheckResult(
            part="accounts", ok=False, what=f"{name}: {error.message}", remedy=error.hint
        )
        return
    if allowed is not None:
        numbers = "1 number" if len(allowed) == 1 else f"{len(allowed)} numbers"
        what = f"{name} texts only the {numbers} of its `allow_only`"
        yield CheckResult(part="accounts", ok=True, what=what)


def _remedy_for(account: AccountRow) -> str:
    """What to do about an account that does not send at full speed."""
    if account.paused_by is not None:
        return f"fix the cause, then run `dispatcher account resume {account.name}`"
    if account.stopped_at is not None:
        return f"run `dispatcher go`, or `dispatcher go --account {account.name}`"
    if account.breaker == Breaker.TRIAL:
        return (
            "nothing to do: it continues with the next recipient whom its provider accepts; "
            f"`dispatcher account resume {account.name}` does not wait for one"
        )
    return "nothing to do: it continues when its provider is back"


def _list_doubt(store: Store) -> Iterator[CheckResult]:
    for one in list_in_doubt(store):
        who = "1 recipient is" if one.recipients == 1 else f"{one.recipients} recipients are"
        since = "" if one.since is None else f" since {one.since:%Y-%m-%d %H:%M:%S} UTC"
        yield CheckResult(
            part="campaigns",
            ok=False,
            what=f"campaign {one.id} ({one.name}): {who} IN DOUBT{since}",
            remedy=f"run `dispatcher campaign resolve {one.id}`"
            if one.next_at is None
            else "nothing to do yet: the next automatic check is at "
            f"{one.next_at:%Y-%m-%d %H:%M:%S} UTC ({one.looks or 0} so far)",
        )


def _describe_proxies(settings: Settings) -> Iterator[CheckResult]:
    for name, account in settings.accounts.items():
        words = describe_proxy(account, os.environ)
        if words is not None:
            yield CheckResult(part="accounts", ok=True, what=f"{name}: {words}")


def _list_unfinished_imports(store: Store) -> Iterator[CheckResult]:
    with store.read() as conn:
        left = imports.list_abandoned(conn, store_now(conn))
    for row in left:
        what = (
            f"the import of {row.source_name} (campaign {row.id}) did not finish; none of it is "
            "sent: submit the file again to replace it, or discard it with `dispatcher campaign "
            f"cancel {row.id}`"
        )
        yield CheckResult(part="imports", ok=True, what=what)


def _list_corrections(store: Store) -> Iterator[CheckResult]:
    with store.read() as conn:
        made = corrections.load_corrections(conn)
    for correction, count in made.items():
        yield CheckResult(part="sweep", ok=True, what=f"{count} × {correction.label}")
