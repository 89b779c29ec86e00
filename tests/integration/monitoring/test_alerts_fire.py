"""Each alert is silent over a healthy store's metrics, and fires once its condition is there."""

import json
import operator
import re
import shutil
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.store import accounts, corrections, notice_sources, scheduler, stops
from dispatcher.store.corrections import Correction
from dispatcher.store.engine import Store, store_now
from dispatcher.store.push_counts import NOBODY, PushOutcome, add_push_counts
from dispatcher.store.tables import ACCOUNT, ATTEMPT, SCHEDULER
from tests.integration.monitoring.test_alerts import ALERTS, DEPLOY, RULES
from tests.support import stores
from tests.support.scraping import Scraper, settings_in

AN_HOUR_AGO = timedelta(hours=-1)


def let_ticks_stop(conn):
    stores.change(conn, SCHEDULER, SCHEDULER.c.ticked_at.is_not(None),
                  ticked_at=store_now(conn) + AN_HOUR_AGO)  # fmt: skip


def let_work_wait(store):
    stores.add_campaign(store, (5, 2))


def doubt_some(store):
    stores.add_campaign(store, (3,))
    held, (only,) = stores.submitting(store)
    stores.settle(store, held, only, stores.verdict(doubtful=range(3)))


def pause(conn):
    accounts.pause_account(conn, "main", by="credit", reason="empty", now=store_now(conn))


def open_breaker(conn):
    stores.change(conn, ACCOUNT, ACCOUNT.c.name == "main", breaker="open")


def lose_balance(conn):
    notice_sources.save_balance(conn, "main", '{"all": "7"}', store_now(conn))


def let_polls_wait(store):
    stores.add_campaign(store, (2,))
    held, (only,) = stores.submitting(store)
    stores.settle(store, held, only, stores.verdict(accepted=range(2), job_id="job"))
    with store.write() as conn:
        late = store_now(conn) + AN_HOUR_AGO
        stores.change(conn, ATTEMPT, ATTEMPT.c.id == only, poll_at=late)


def let_the_queue_wait(store):
    stores.add_campaign(store, (2,))
    with store.read() as conn:
        late = store_now(conn) + AN_HOUR_AGO
    stores.queued(store, now=late)


def lose_leases(conn):
    corrections.count_corrections(conn, {Correction.CLAIM_LEASE_EXPIRED: 9})


def stop(conn):
    stops.stop_accounts(conn, None, actor="anna", reason="wrong text", now=store_now(conn))


def refuse_pushes(conn):
    add_push_counts(conn, {(NOBODY, PushOutcome.REFUSED): 30}, store_now(conn))


def give_receipts_up(conn):
    add_push_counts(conn, {("main", PushOutcome.GIVEN_UP): 50}, store_now(conn))


#: What brings a store into the condition; in a transaction, or by some of its own.
IN_ONE = {
    "DispatcherTickOld": let_ticks_stop,
    "DispatcherAccountPaused": pause,
    "DispatcherBreakerOpen": open_breaker,
    "DispatcherBalanceLow": lose_balance,
    "DispatcherLeasesExpire": lose_leases,
    "DispatcherStopped": stop,
    "DispatcherPushesNotTaken": refuse_pushes,
    "DispatcherReceiptsUnknown": give_receipts_up,
}
BY_ITSELF = {
    "DispatcherNothingSent": let_work_wait,
    "DispatcherQueueNotShrinking": let_work_wait,
    "DispatcherInDoubt": doubt_some,
    "DispatcherPollBacklog": let_polls_wait,
    "DispatcherQueueStuck": let_the_queue_wait,
}
#: The exporter, or the file of the store, is gone.
AWAY = ("DispatcherMetricsMissing", "DispatcherStoreDown")
#: An increase is over after its time; all other conditions last.
INCREASES = {"DispatcherLeasesExpire", "DispatcherPushesNotTaken", "DispatcherReceiptsUnknown"}


def samples(scraper):
    """Each series, written as Prometheus does, with its value."""
    return {
        f"{sample.name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels)}}}": value
        for family in text_string_to_metric_families(scraper.text())
        for sample in family.samples
        for labels, value in [(sample.labels.items(), sample.value)]
        if not sample.name.endswith("_bucket")
    }


def scrape_twice(alert, folder, url):
    """All series of a healthy store, and again in the alert's condition."""
    with closing(Store(url)) as store:
        stores.add_account(store)
        with store.write() as conn:
            scheduler.begin_tick(conn, timedelta(seconds=25))
            add_push_counts(conn, {("main", PushOutcome.RECEIPT): 1}, store_now(conn))
        scraper = Scraper(store, settings_in(folder))
        before = samples(scraper)
        if alert in IN_ONE:
            with store.write() as conn:
                IN_ONE[alert](conn)
        elif alert in BY_ITSELF:
            BY_ITSELF[alert](store)
        elif alert == "DispatcherStoreDown":
            store.close()
            Path(store.url.database).rename(folder / "away.db")
        return before, {} if alert == "DispatcherMetricsMissing" else samples(scraper)


@pytest.fixture
def seen(alert, tmp_path, sqlite_url):
    return scrape_twice(alert, tmp_path, sqlite_url)


SIMPLE = re.compile(r"(dispatcher_\w+)(?:\{(\w+)(!?=)\"(\w+)\"\})? (==|>) (\d+)")
COMPARE = {"==": operator.eq, ">": operator.gt}


def simple_expressions():
    for alert in ALERTS:
        expr = re.search(rf"- alert: {alert}\n +expr: (.+)", RULES)[1]
        if found := SIMPLE.fullmatch(expr):
            yield pytest.param(alert, found.groups(), id=alert)


def is_crossed(series, expression):
    name, label, match, value, compare, limit = expression
    wanted = None if label is None else f'{label}="{value}"'
    return any(
        COMPARE[compare](found, float(limit))
        and (wanted is None or (wanted in one) == (match == "="))
        for one, found in series.items()
        if one.startswith(f"{name}{{")
    )


@pytest.mark.parametrize(("alert", "expression"), [*simple_expressions()])
def test_a_limit_is_crossed_in_its_condition_only(seen, expression):
    before, after = seen
    assert not is_crossed(before, expression)
    assert is_crossed(after, expression)


def test_most_limits_are_simple_and_every_alert_has_a_condition():
    assert len([*simple_expressions()]) >= 7
    assert {*IN_ONE, *BY_ITSELF, *AWAY} == {*ALERTS}


def rule_test(alert, before, after):
    """Five healthy minutes, then the condition: silent at first, firing in the end."""
    series = [
        {"series": name, "values": f"{_written(before[name])}x10 {_written(after.get(name))}x90"}
        for name in before
    ]
    series += [
        {"series": name, "values": f"_x11 {_written(value)}x90"}
        for name, value in after.items() if name not in before
    ]  # fmt: skip
    count = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    at = "12m" if alert in INCREASES else "45m"
    return {
        "name": alert,
        "interval": "30s",
        "input_series": series,
        "promql_expr_test": [
            {"expr": count, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 0}]},
            {"expr": count, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]},
        ],
    }


def _written(value):
    return "_" if value is None else f"{value:.6f}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
@pytest.mark.parametrize("alert", ALERTS)
def test_it_fires_over_the_metrics_of_a_store_in_its_condition(alert, seen, tmp_path):
    given = {
        "rule_files": [str(DEPLOY / "prometheus-rules.yml")],
        "evaluation_interval": "30s",
        "tests": [rule_test(alert, *seen)],
    }
    path = tmp_path / "test.yml"
    path.write_text(json.dumps(given))
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
