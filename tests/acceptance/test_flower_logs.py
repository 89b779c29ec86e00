"""Flower's own lines have the format of all others: JSON where no terminal is."""

import json

import pytest

from tests.support import warm
from tests.support.cli import clean_environment
from tests.support.stage import wait_for


@pytest.fixture
def read_lines(tmp_path):
    """What Flower logs at its start, beside a broker that is away."""
    started = []
    file = tmp_path / "flower.log"

    def read(log_format):
        config = f'[broker]\nurl = "redis://127.0.0.1:1/0"\n[log]\nformat = "{log_format}"\n'
        (tmp_path / "dispatcher.toml").write_text(config, encoding="utf-8")
        argv = ["-A", "workers", "flower", "--port=0"]
        env = clean_environment(tmp_path)
        started.append(warm.spawn("celery", argv, folder=tmp_path, env=env, out=file))
        wait_for(lambda: file.exists() and "Registered tasks" in file.read_text(), "Flower")
        return file.read_text().splitlines()

    yield read
    for process in started:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("log_format", ["auto", "json"])
def test_each_line_of_flower_is_json_where_no_terminal_is(log_format, read_lines):
    found = [json.loads(line) for line in read_lines(log_format)]
    assert {"time", "level", "message", "logger", "pid"} <= set.intersection(*map(set, found))
    shown = [each for each in found if each["message"].startswith("Visit me at http://127.0.0.1:")]
    assert [(each["level"], each["logger"]) for each in shown] == [("INFO", "flower.command")]


def test_flower_writes_text_where_that_is_configured(read_lines):
    assert any("INFO] Visit me at http://127.0.0.1:" in line for line in read_lines("text"))
