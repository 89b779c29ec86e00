"""`campaign watch`: a screen of 80 columns with everything, or lines where there is none."""

from dataclasses import replace
from datetime import timedelta

import click
import pytest
from rich.console import Console

from dispatcher.campaigns.view import load_view
from dispatcher.cli.campaign.pace import SubmissionPace
from dispatcher.cli.campaign.progress import ProgressDisplay, can_redraw, stop_reason, stop_style
from dispatcher.cli.campaign.watch_screen import draw_screen
from dispatcher.cli.campaign.watched import Balances, Watched
from dispatcher.cli.context import Session
from dispatcher.status import CampaignState
from dispatcher.store.campaign_search import list_troubled_batches
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from tests.support import stores
from tests.support.cli import clean_environment, in_process
from tests.support.terminal import on_terminal

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v3"
sender = "SENDER"
country = "IN"
messages_per_second = 200
windows = ["mon-sun 00:00-23:59"]
"""


@pytest.fixture
def config(sqlite_store, tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")
    return path


@pytest.fixture
def run(config, tmp_path):
    return lambda *args: in_process("--config", str(config), *args, folder=tmp_path)


def finish(store, **values):
    with store.write() as conn:
        given = {"state": CampaignState.FINISHED, "finished_at": store_now(conn)}
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id > 0, **given, **values)


def drawn(watched, *, columns=80, height=24, color=None):
    console = Console(width=columns, height=height, color_system=color, force_terminal=bool(color))
    with console.capture() as captured:
        console.print(draw_screen(watched, None, "12:00:00", console.size))
    return captured.get()


def watched(store, campaign, **values):
    pace = SubmissionPace(clock=iter([0.0, 10.0, 20.0]).__next__)
    for submitted in (0, 2000, 4000):
        pace.add_observation(submitted)
    return Watched(load_view(store, str(campaign)), pace, **values)


def test_one_campaign_is_shown_with_all_that_stands_around_it(store):
    campaign = stores.add_campaign(store, (3, 2), name="spring\x1b[31m sale")
    held, (attempt,) = stores.submitting(store, [[0, 1, 2]])
    stores.settle(store, held, attempt, stores.verdict(accepted=[0], doubtful=[1, 2]))
    with store.write() as conn:
        troubled = {"error": "HTTP 503", "tries": 3, "not_before": stores.NOW}
        stores.change(conn, stores.BATCH, stores.BATCH.c.seq == 1, **troubled)
    with store.read() as conn:
        trouble = list_troubled_batches(conn, campaign, 3)
    shown = drawn([
        watched(
            store, campaign, forecast="all are submitted by 12:03", rate="200 messages/s",
            window="open until 23:59 UTC", balance="bulk 500", trouble=trouble,
        )
    ])  # fmt: skip
    for words in (
        "1 running", "20 % 1/5 submitted", "spring[31m sale",
        "messages   2 pending, 1 waiting for a receipt, 2 in doubt",
        "rate       200 messages/s now, 0 s left; allowed: 200 messages/s",
        "window     open until 23:59 UTC", "forecast   all are submitted by 12:03",
        "account    main, open; balance: bulk 500", "doubt      2 IN DOUBT",
        "trouble    batch 2: 3 tries, next try 2030-05-06 12:00:00 UTC: HTTP 503",
    ):  # fmt: skip
        assert words in shown, shown
    assert "\x1b" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_narrow_terminal_shows_the_numbers_before_the_bar(store):
    one = watched(store, stores.add_campaign(store, name="spring"))
    assert "1 running ░░░░ 0 % 0/3 submitted  spring" in drawn([one], columns=44)


def test_only_the_balance_of_the_campaigns_kind_is_shown(config, sqlite_store, tmp_path):
    stores.add_campaign(sqlite_store, kind="promotional")
    with sqlite_store.write() as conn:
        left = {"balance": '{"OTP": 7, "Promotional": 500}', "balance_at": store_now(conn)}
        stores.change(conn, ACCOUNT, ACCOUNT.c.name == "main", **left)
    one = Watched(load_view(sqlite_store, "1"))
    with click.Context(click.Command("watch"), obj=Session(config)) as ctx:
        one.look_closer(ctx, sqlite_store, Balances(asks=False))
    assert one.balance == "Promotional 500"


def test_waiting_for_the_own_rate_is_no_alarm(store):
    view = load_view(store, str(stores.add_campaign(store)))
    assert stop_style(replace(view, account_waits_for="its rate")) == "dim"
    assert stop_style(replace(view, account_paused_by="operator")) == "bold yellow"
    assert stop_style(replace(view, account_trouble="HTTP 503")) == "bold yellow"


@pytest.mark.parametrize(
    "trouble",
    [
        {"account_waits_for": "its rate"},
        {"account_paused_by": "operator", "account_pause_reason": "mine"},
        {"account_trouble": "HTTP 503", "account_waits_for": "a probe"},
    ],
    ids=str,
)
def test_an_account_keeps_nothing_from_being_sent_where_nothing_is_left(store, trouble):
    view = replace(load_view(store, str(stores.add_campaign(store))), **trouble)
    assert "account main" in stop_reason(view)
    sent = replace(view, counts=view.counts | {"pending": 0, "submitted": 3})
    assert stop_reason(sent) is None
    assert stop_reason(replace(sent, waits_for="its file again")) == "waits for its file again"


def test_a_line_is_printed_for_a_change_of_the_campaign_not_of_its_forecast(store, capsys):
    view = load_view(store, str(stores.add_campaign(store)))
    times = iter([0.0, 10.0, 20.0, 30.0])
    display = ProgressDisplay(clock=times.__next__)
    display.print_change(view, SubmissionPace(), "all submitted by 12:00:01", None)
    display.print_change(view, SubmissionPace(), "all submitted by 12:00:04", None)
    moved = replace(view, counts=view.counts | {"submitted": 1})
    display.print_change(moved, SubmissionPace(), "all submitted by 12:00:07", None)
    assert [line[-8:] for line in capsys.readouterr().out.splitlines()] == ["12:00:01", "12:00:07"]


def test_progress_on_a_terminal_is_drawn_again_for_a_change_only(store, capsys, monkeypatch):
    """Lines that are erased and written again twice a second flicker."""
    monkeypatch.setattr("dispatcher.cli.campaign.progress.can_redraw", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    view = load_view(store, str(stores.add_campaign(store)))
    moved = replace(view, counts=view.counts | {"submitted": 1})

    def drawn(*views):
        with ProgressDisplay() as display:
            for each in views:
                display.show_progress(each, SubmissionPace(), "all submitted by 12:00", None)
            shown = capsys.readouterr().out
        capsys.readouterr()
        return shown.count("all submitted by 12:00")

    assert drawn(view) == 1
    assert drawn(view, view, view) == 1
    assert drawn(view, view, moved, moved) == 2


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(store, columns):
    campaign = stores.add_campaign(store, name="a very long name " * 10)
    one = watched(store, campaign, forecast="word " * 60, rate="r" * 90, window="w" * 90)
    lines = drawn([one], columns=columns, height=50).splitlines()
    assert max(map(len, lines)) <= columns


def test_several_campaigns_fit_a_small_terminal(store):
    made = [stores.add_campaign(store, name=f"c{n}") for n in range(9)]
    shown = drawn([watched(store, one, forecast="f" * 90) for one in made], height=12)
    assert shown.count(f"\n{'':11}0 delivered") == shown.count(f"\n{'':11}ffff") == 3
    assert len(shown.splitlines()) <= 12
    assert "and 6 campaigns more" in shown


def test_a_paused_account_and_a_stopped_campaign_say_what_they_wait_for(store):
    campaign = stores.add_campaign(store)
    with store.write() as conn:
        paused = {"paused_by": "operator", "pause_reason": "maintenance"}
        stores.change(conn, ACCOUNT, ACCOUNT.c.name == "main", **paused)
    shown = drawn([watched(store, campaign)])
    assert "account    main, paused" in shown
    assert "waits      account main paused (operator): maintenance" in shown


def test_without_a_terminal_each_change_is_a_line(run, sqlite_store):
    stores.add_campaign(sqlite_store, name="one")
    stores.add_campaign(sqlite_store, name="two")
    finish(sqlite_store)
    ended = run("campaign", "watch", "1", "2")
    assert ended.code == 0
    lines = [line for line in ended.out.splitlines() if " · " in line]
    assert [line.split(" · ")[0] for line in lines] == [
        "campaign 1 (one): finished", "campaign 2 (two): finished",
    ]  # fmt: skip


def test_without_a_name_the_open_campaigns_are_watched(run, sqlite_store):
    assert "no campaign is open" in run("campaign", "watch").out
    stores.add_campaign(sqlite_store, name="over")
    finish(sqlite_store)
    assert "no campaign is open" in run("campaign", "watch").out


def test_remaining_doubt_makes_it_end_with_1(run, sqlite_store):
    stores.add_campaign(sqlite_store)
    held, (attempt,) = stores.submitting(sqlite_store, [[0, 1, 2]])
    stores.settle(sqlite_store, held, attempt, stores.verdict(doubtful=[0, 1, 2]))
    finish(sqlite_store)
    assert run("campaign", "watch", "1").code == 1


@pytest.mark.parametrize(
    ("term", "columns", "is_screen"), [("xterm", 80, True), ("screen-256color", 80, True),
                                       ("dumb", 80, False)],
)  # fmt: skip
def test_a_terminal_gets_a_screen_and_a_dumb_one_lines(
    config, sqlite_store, tmp_path, term, columns, is_screen
):
    stores.add_campaign(sqlite_store, name="spring")
    finish(sqlite_store, started_at=stores.NOW - timedelta(hours=1))
    session = on_terminal(
        ["-m", "dispatcher", "--config", str(config), "campaign", "watch", "1"],
        columns=columns,
        env=clean_environment(tmp_path) | {"NO_COLOR": "1"},
        term=term,
    )
    assert session.code == 0, session.shown
    # The other screen is entered, and left again.
    assert ("\x1b[?1049h" in session.shown, "\x1b[?1049l" in session.shown) == (is_screen,) * 2
    assert "campaign 1  spring" in session.shown


@pytest.mark.parametrize("term", ["", "dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_is_known_by_its_name(term, monkeypatch):
    monkeypatch.setattr("dispatcher.cli.campaign.progress.is_terminal", lambda _stream: True)
    monkeypatch.setenv("TERM", term)
    assert not can_redraw()
    monkeypatch.setenv("TERM", "tmux-256color")
    assert can_redraw()
