"""The report: its figures on both stores, and a page that is safe, complete and readable."""

import itertools
import json
import re
import stat
from html.parser import HTMLParser
from importlib import import_module, resources
from zoneinfo import ZoneInfo

import pytest

from dispatcher.config.settings import load_settings
from dispatcher.reports.figures import build_figures
from dispatcher.reports.report_json import report_to_json
from dispatcher.reports.report_page import report_page
from dispatcher.store.tables import BATCH
from tests.support.after_sending import HOSTILE, run_in, sent_campaign
from tests.support.stores import campaign_of, change

INDIA = ZoneInfo("Asia/Kolkata")


def figures_of(store, folder, **values):
    """The figures of the campaign of `sent_campaign`."""
    campaign_id = sent_campaign(store)
    run_in(folder, store, **values)
    settings = load_settings(folder / "dispatcher.toml")
    rows = [campaign_of(store, campaign_id)]
    return build_figures(store, settings, rows, INDIA, lambda _account: {})


def test_a_report_counts_every_recipient_once(store, tmp_path):
    found = figures_of(store, tmp_path)
    assert dict(found.outcomes) == {
        "delivered": 5, "not delivered": 2, "no receipt": 1, "in doubt": 1, "not submitted": 1,
        "pending": 0,
    }  # fmt: skip
    assert found.outcome_counts == [(name, n) for name, n in found.outcomes.items() if n]
    assert (found.total, found.parts, str(found.cost)) == (10, 10, "3.500000")
    assert [(row.name, row.total, str(row.cost)) for row in found.countries] == [("IN", 10, "3.5")]
    assert sum(row.total for row in found.operators) == 10
    assert {group.state.label: group.recipients for group in found.failures} == {
        "undelivered": 1, "expired": 1, "rejected": 1,
    }  # fmt: skip


def test_who_may_still_get_a_receipt_is_not_said_to_have_none(sqlite_store, tmp_path):
    campaign_id = sent_campaign(sqlite_store)
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == campaign_id, no_receipt=0)
    shown = run_in(tmp_path, sqlite_store)("campaign", "report", str(campaign_id)).out
    assert "waiting for a receipt" in shown
    assert "no receipt yet" in shown
    assert "no receipt " not in shown.replace("no receipt yet", "")


def test_a_report_shows_when_outcomes_came(store, tmp_path):
    found = figures_of(store, tmp_path)
    assert found.timeline is not None
    assert [f"{at.astimezone(INDIA):%H:%M:%S}" for at in found.timeline.ends] == [
        "17:30:10", "17:30:20", "17:30:30", "17:30:40",
    ]  # fmt: skip
    # Requests began at 17:30:00, receipts were read at 17:30:30.
    assert found.timeline.outcomes["no receipt"] == [8, 8, 8, 1]
    assert found.timeline.outcomes["delivered"] == [0, 0, 0, 5]
    assert found.timeline.outcomes["not delivered"] == [0, 0, 0, 2]
    assert [sum(column) for column in zip(*found.timeline.outcomes.values(), strict=True)] == [
        10
    ] * 4
    assert found.delays.delivered == 5
    assert found.delays.percentiles_s == {50: 30, 90: 30, 95: 30, 99: 30}


@pytest.mark.parametrize(
    ("windows", "closed"), [('"mon-sun 09:00-21:00"', False), ('"mon-sun 09:00-17:00"', True)]
)
def test_the_rate_stands_beside_its_limit_and_the_windows(sqlite_store, tmp_path, windows, closed):
    rate = figures_of(sqlite_store, tmp_path, windows=windows).rate
    assert rate is not None
    assert (rate.per_second, rate.size_s, rate.limit) == ([1.0], 10, 50)
    assert rate.is_closed == [closed]


def test_a_report_is_json_with_times_in_utc(store, tmp_path):
    found = report_to_json(figures_of(store, tmp_path))
    again = json.loads(json.dumps(found))
    assert again["timeline"]["until"][0] == "2030-05-06T12:00:10.000Z"
    assert again["outcomes"]["in_doubt"] == 1
    assert again["countries"][0]["cost"] == "3.5"


# --- The page ---------------------------------------------------------------------------------


class Outline(HTMLParser):
    """The tags of a page, with their attributes, and its headings."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.ids = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def having(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture
def page(sqlite_store, tmp_path):
    return report_page(figures_of(sqlite_store, tmp_path), f"Campaign {HOSTILE}", INDIA, INDIA.key)


def test_a_page_asks_for_nothing(page):
    namespaces = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|//[a-z]|url\(|@import|javascript:", namespaces)
    outline = Outline(page)
    asking = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    assert not asking & {tag for tag, _ in outline.tags}
    assert not [a for _, attrs in outline.tags for a in attrs if a.startswith("on") or a == "src"]
    (policy,) = [m for m in outline.having("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy["content"]


def test_hostile_names_are_only_text(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not set(page) & set("\x1b\u202e\u2066\x00")


def test_a_page_can_be_read_by_everybody(page):
    outline = Outline(page)
    assert outline.having("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures, tables = outline.having("svg"), outline.having("table")
    assert len(pictures) == 7
    assert all(one["role"] == "img" and one["aria-label"] for one in pictures)
    assert len(tables) == len(outline.having("caption")) == len(pictures)
    assert all(attrs["scope"] in {"col", "row"} for attrs in outline.having("th"))
    regions = [attrs for attrs in outline.having("div") if attrs.get("class") == "scroll"]
    assert len(regions) == 14
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in regions)
    assert not [attrs for _, attrs in outline.tags if "id" in attrs]


def test_every_picture_is_drawn(page):
    for picture in page.split("<svg")[1:]:
        shapes = picture.partition("</svg>")[0]
        assert re.search(r'class="[^"]*c-[a-z]+[^"]*">.*?<(path|rect)', shapes), shapes[:200]
        assert "<title>Pygal" not in shapes


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The contrast of two colours (WCAG 2.1, 1.4.3)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


STYLE = resources.files("dispatcher.reports").joinpath("page.css").read_text("utf-8")
SCHEMES = [
    dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark", "paper"])
def test_texts_and_pictures_stand_out_from_the_page(scheme):
    for text in ("text", "soft"):
        assert contrast(scheme[text], scheme["page"]) >= 4.5, text
        assert contrast(scheme[text], scheme["band"]) >= 4.5, text
    for shape in ("accent", "good", "bad", "late", "odd", "calm", "rest"):
        assert contrast(scheme[shape], scheme["page"]) >= 3, shape


# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def run(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent_campaign(sqlite_store)
    return run_in(tmp_path, sqlite_store)


def test_the_terminal_shows_the_same_figures(run):
    ended = run("campaign", "report", "1")
    assert ended.code == 0, ended.err
    assert all(char.isprintable() for line in ended.out.split("\n") for char in line)
    for words in (
        "times in Asia/Kolkata", "10 recipients, 10 parts, cost 3.5", f"delivered{5:>24}",
        "50 % within 30 s", "undelivered: Absent subscriber", "the limit is 50/s",
    ):  # fmt: skip
        assert words in ended.out


def test_a_page_is_its_owners_and_replaces_no_other(run, tmp_path):
    assert run("campaign", "report", "1", "--html", "r.html").code == 0
    path = tmp_path / "r.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 100_000
    again = run("campaign", "report", "1", "--html", "r.html")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert run("campaign", "report", "1", "--html", "r.html", "--force").code == 0


def test_a_report_since_a_time_has_all_campaigns(run, sqlite_store):
    sent_campaign(sqlite_store, name="second")
    found = json.loads(run("campaign", "report", "--since", "7d", "--json").out)
    assert [one["name"] for one in found["campaigns"]] == ["second", HOSTILE]
    assert (found["total"], found["outcomes"]["delivered"]) == (20, 10)
    assert found["rate"]["limit"] is None
    assert "2 campaigns" in run("campaign", "report", "--since", "7d").out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "name a campaign, or give --since"),
        (["1", "--since", "7d"], "name a campaign, or give --since"),
        (["1", "--account", "main"], "--account goes with --since"),
        (["--since", "2099-01-01T00:00"], "no campaign was created since 2099-01-01"),
        (["--since", "soon"], "is not a valid time"),
    ],
)
def test_a_report_of_nothing_says_what_to_give(run, args, words):
    ended = run("campaign", "report", *args)
    assert (ended.code, words in ended.err) == (2, True), ended.err


def test_drawing_leaves_the_search_for_modules_as_it_was(page):
    assert "<svg" in page
    with pytest.raises(ModuleNotFoundError):  # and no warning of a finder without find_spec
        import_module("dispatcher.no_such_module")
