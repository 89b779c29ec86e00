"""The dashboard as somebody on call reads it: units, names, colours, empty panels, alerts.

What a panel does not set is left to Grafana: all labels as a name, red for the greatest value.
Over which metrics the queries are is tested in integration/monitoring/test_alerts.py.
"""

import json
import re
from itertools import combinations

import pytest
import yaml

from tests.support.cli import ROOT

DEPLOY = ROOT / "deploy"
ALL = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))["panels"]
PANELS = [panel for panel in ALL if panel["type"] != "row"]
RULES = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text("utf-8"))["groups"]
ALERTS = {rule["alert"]: rule for group in RULES for rule in group["rules"]}
each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def defaults_of(panel):
    return panel["fieldConfig"]["defaults"]


def alerts_of(panel):
    return re.findall(r"\bDispatcher\w+", panel["description"])


def unit_of(expression):
    """The unit of a query's values."""
    if "_seconds" in expression:
        return "s"
    if "rate(" in expression or "_per_second" in expression:
        return "reqps" if "requests_begun" in expression else "suffix:/s"
    return "short"


@pytest.mark.parametrize(
    ("expression", "unit"),
    [
        ("dispatcher_tick_age_seconds", "s"),
        ("histogram_quantile(0.5, rate(dispatcher_release_delay_seconds_bucket[5m]))", "s"),
        ("rate(dispatcher_requests_begun_total[5m])", "reqps"),
        ("dispatcher_account_rate_limit_per_second", "suffix:/s"),
        ("increase(dispatcher_pushes_total[30m])", "short"),
    ],
)
def test_a_query_has_a_unit(expression, unit):
    assert unit_of(expression) == unit


@each_panel
def test_a_panel_has_the_unit_of_its_queries(panel):
    units = {unit_of(target["expr"]) for target in panel["targets"]}
    assert units == {defaults_of(panel)["unit"]}


@each_panel
def test_a_panel_says_what_it_shows_and_why_it_is_empty(panel):
    assert panel["description"].endswith(".")
    assert defaults_of(panel)["noValue"]


@each_panel
def test_a_line_is_named_by_its_account_and_not_by_all_its_labels(panel):
    for target in panel["targets"]:
        if panel["type"] == "stat":
            assert target["legendFormat"] == ""
        else:
            assert target["legendFormat"]
            is_by_account = 'account=~"$account' in target["expr"]
            assert ("{{account}}" in target["legendFormat"]) == (
                is_by_account and "sum by (state)" not in target["expr"]
            )


@each_panel
def test_one_figure_is_that_of_now(panel):
    """Of a range, the last value would be shown for hours after the exporter has gone."""
    is_stat = panel["type"] == "stat"
    assert [target.get("instant", False) for target in panel["targets"]] == [
        is_stat for _ in panel["targets"]
    ]
    if is_stat:
        assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
        assert len(panel["targets"]) == 1


@each_panel
def test_a_state_has_a_word_and_a_colour_of_its_own(panel):
    """Without a mode, Grafana draws the least value green and the greatest red."""
    if panel["type"] == "state-timeline":
        (mapping,) = defaults_of(panel)["mappings"]
        assert {"0", "1"} <= mapping["options"].keys()
        assert all(each["text"] and each["color"] for each in mapping["options"].values())
    if panel["type"] != "timeseries":
        assert defaults_of(panel)["color"] == {"mode": "thresholds"}
        assert defaults_of(panel)["thresholds"]["steps"]


def test_the_reasons_of_a_pause_have_the_words_of_their_numbers():
    (panel,) = [panel for panel in PANELS if panel["title"] == "Paused, and why"]
    summands = re.findall(r'(?:(\d) \* )?sum .*?reason="(\w+)"', panel["targets"][0]["expr"])
    named = {number or "1": reason for number, reason in summands}
    (mapping,) = defaults_of(panel)["mappings"]
    shown = {number: each["text"] for number, each in mapping["options"].items()}
    assert shown == {"0": "not paused"} | named


def test_each_alert_is_seen_on_a_panel():
    assert {alert for panel in PANELS for alert in alerts_of(panel)} == ALERTS.keys()


@each_panel
def test_a_mark_is_that_of_the_alert_and_has_its_colour(panel):
    """Of alerts with one number; a page is red, a ticket is orange."""
    for alert in alerts_of(panel):
        if found := re.fullmatch(r"(dispatcher_\w+) > (\d+)", ALERTS[alert]["expr"]):
            metric, mark = found.groups()
            assert {target["expr"].partition("{")[0] for target in panel["targets"]} == {metric}
            color = {"page": "red", "ticket": "orange"}[ALERTS[alert]["labels"]["severity"]]
            last = defaults_of(panel)["thresholds"]["steps"][-1]
            assert last == {"color": color, "value": int(mark)}
            assert f"above {mark} s" in panel["description"]


def test_panels_do_not_overlap_and_those_of_now_are_first():
    for one, other in combinations(ALL, 2):
        a, b = one["gridPos"], other["gridPos"]
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_below, (one["title"], other["title"])
    assert all(each["gridPos"]["x"] + each["gridPos"]["w"] <= 24 for each in ALL)
    assert len({each["id"] for each in ALL}) == len(ALL)
    assert [each["type"] for each in PANELS[:8]] == ["stat"] * 8
