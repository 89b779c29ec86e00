"""Alerts and dashboard: over metrics that exist, and with a runbook entry for each alert."""

import json
import re
import shutil
import subprocess
from contextlib import closing

import pytest
import yaml

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
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
METRIC = re.compile(r"\bdispatcher_\w+")
SELECTOR = re.compile(rf"({METRIC.pattern})(?:\{{(.*?)\}})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*?)"')
GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right) \((.*?)\)")
PARTS = ["It means", "Look at", "Do", "Do not"]


@pytest.fixture
def labels(tmp_path, sqlite_url):
    """The labels of all samples by name, of a store in which each metric has a value."""
    with closing(Store(sqlite_url)) as store:
        stores.add_campaign(store, (2,))
        with store.write() as conn:
            notice_sources.save_balance(conn, "main", '{"all": "7"}', store_now(conn))
            add_push_counts(conn, {("main", PushOutcome.RECEIPT): 1}, store_now(conn))
        return Scraper(store, settings_in(tmp_path)).labels()


@pytest.fixture
def names(labels):
    return set(labels)


def missing_labels(expression, legend, labels):
    """What an expression or its legend asks of its metrics that no sample of theirs has."""
    missing = []
    for name, conditions in SELECTOR.findall(expression):
        for label, kind, value in MATCHER.findall(conditions):
            fits = re.compile(value.replace("$account", ".*") if "~" in kind else re.escape(value))
            values = [sample[label] for sample in labels[name] if label in sample]
            if not any(fits.fullmatch(each) for each in values):
                missing.append(f"{name}{{{label}{kind}{value}}}")
    has = [set().union(*labels[name]) for name in METRIC.findall(expression)]
    groups = [re.findall(r"\w+", group) for group in GROUPING.findall(expression)]
    for label in {label for group in groups for label in group}:
        missing += [f"{expression}: {label}" for each in has if label not in each]
    shown = set().union(*groups) if " by (" in f" {expression}" else set.intersection(*has)
    missing += [f"{legend}: {label}" for label in re.findall(r"\w+", legend) if label not in shown]
    return missing


def test_the_dashboard_asks_for_labels_that_a_scrape_has(labels):
    for target in TARGETS:
        legend = " ".join(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        assert missing_labels(target["expr"], legend, labels) == []
    asked = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    for query in asked:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert all(label in sample for sample in labels[name]), query
        assert labels[name], query


def test_rates_of_the_dashboard_are_over_five_minutes_or_more():
    """A minute has four scrapes: requests of 1,000 at 100 a second showed as 111."""
    expressions = " ".join(target["expr"] for target in TARGETS)
    windows = [int(minutes) for minutes in re.findall(r"\[(\d+)m\]", expressions)]
    assert min(windows) >= 5
    assert len(windows) == expressions.count("[")


def test_alerts_ask_for_labels_that_a_scrape_has(labels):
    rules = yaml.safe_load(RULES)["groups"]
    found = [rule for group in rules for rule in group["rules"]]
    assert [rule["alert"] for rule in found] == ALERTS
    for rule in found:
        assert missing_labels(rule["expr"], "", labels) == []


@pytest.mark.parametrize(
    ("expression", "legend", "missing"),
    [
        ('dispatcher_recipients{state="in_doubt",account=~"$account"}', "account state", 0),
        ('dispatcher_recipients{state="doubtful"}', "", 1),
        ('dispatcher_recipients{stat="in_doubt"}', "", 1),
        ("sum by (kind) (dispatcher_recipients)", "", 1),
        ("sum by (state) (dispatcher_recipients)", "account", 1),
        ("dispatcher_workers", "account", 1),
    ],
)
def test_a_query_for_a_label_that_is_not_there_is_noticed(expression, legend, missing, labels):
    assert len(missing_labels(expression, legend, labels)) == missing


def test_alerts_and_dashboard_are_over_metrics_that_exist(names):
    expressions = [target["expr"] for target in TARGETS]
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
