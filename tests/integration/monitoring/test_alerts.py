"""Alerts and dashboard: over metrics that exist, and with a runbook entry for each alert."""

import json
import re
import shutil
import subprocess
from contextlib import closing

import pytest

from dispatcher.store import notice_sources
from dispatcher.store.engine import Store, store_now
from dispatcher.store.push_counts import PushOutcome, add_push_counts
from tests.support import stores
from tests.support.cli import ROOT
from tests.support.scraping import Scraper, settings_in

DEPLOY = ROOT / "deploy"
RULES = (DEPLOY / "prometheus-rules.yml").read_text("utf-8")
TESTS = (DEPLOY / "prometheus-rules-test.yml").read_text("utf-8")
ALERTS = re.findall(r"- alert: (\w+)", RULES)
METRIC = re.compile(r"\bdispatcher_\w+")
PARTS = ["It means", "Look at", "Do", "Do not"]


@pytest.fixture
def names(tmp_path, sqlite_url):
    """The names of all metrics, of a store in which each has a value."""
    with closing(Store(sqlite_url)) as store:
        stores.add_campaign(store, (2,))
        with store.write() as conn:
            notice_sources.save_balance(conn, "main", '{"all": "7"}', store_now(conn))
            add_push_counts(conn, {("main", PushOutcome.RECEIPT): 1}, store_now(conn))
        return Scraper(store, settings_in(tmp_path)).names()


def test_alerts_and_dashboard_are_over_metrics_that_exist(names):
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
    expressions = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    entries = (DEPLOY / "runbook.md").read_text("utf-8").partition("\n## Alerts\n")[2]
    used = METRIC.findall(" ".join([RULES, TESTS, entries, *expressions]))
    assert len(used) > 40
    assert sorted(set(used) - names) == []
    assert all(METRIC.search(one) for one in expressions)


def test_the_page_of_all_commands_names_every_metric_and_no_other(names):
    page = (ROOT / "dispatcher/cli/README.md").read_text("utf-8")
    table = page.partition("## Metrics")[2].partition("| about |")[2].partition("\n\n")[0]
    written = {name.partition("{")[0] for name in re.findall(r"`([a-z_]+(?:\{[^`]*\})?)`", table)}
    found = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert written == {name.removeprefix("dispatcher_") for name in found}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_in_a_test_and_has_a_runbook_entry(alert):
    rule = RULES.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
    assert f"runbook: runbook.md#{alert.lower()}" in rule
    assert re.search(r"severity: (page|ticket)", rule)
    assert f"alertname: {alert}" in TESTS
    entry = (DEPLOY / "runbook.md").read_text("utf-8").partition(f"\n### {alert}\n")[2]
    entry = entry.partition("\n#")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*: ", entry, re.MULTILINE) == PARTS


def test_the_runbook_has_no_entry_without_an_alert():
    page = (DEPLOY / "runbook.md").read_text("utf-8")
    assert re.findall(r"^### (Dispatcher\w+)$", page, re.MULTILINE) == ALERTS


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
@pytest.mark.parametrize(
    "args",
    [("check", "rules", "prometheus-rules.yml"), ("test", "rules", "prometheus-rules-test.yml")],
)
def test_promtool_takes_the_rules_and_lets_each_alert_fire(args):
    done = subprocess.run(
        ["promtool", *args], cwd=DEPLOY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
