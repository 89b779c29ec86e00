"""Lines in the logs: which events there are, as JSON and as text, masked."""

import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.config.sections import LogSettings
from dispatcher.config.settings import Settings, load_settings
from dispatcher.local.celery import celery_children, receiver_child
from dispatcher.logs.console import make_console
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.logs.formats import set_up_handler
from tests import event_table, house

NUMBER = "919820011223"
WRITTEN = "+91 98200-11223"
SECRETS = ("a-long-secret", "a-long-secret-and-longer")


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Logged:
    """A logger and what it wrote."""

    def __init__(self, wanted, stream, text="%(levelname)s %(message)s"):
        self.stream = stream
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(text))
        set_up_handler(handler, wanted, SECRETS)
        self.log = logging.Logger("workers.some")  # noqa: LOG001 - known to nobody else
        self.log.addHandler(handler)

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def line(self):
        return json.loads(self.text)


def test_a_line_of_json_has_the_fields_of_its_event():
    said = Logged("json", Terminal())
    fields = {"campaign": 11, "batch": 40, "attempt": 7, "account": "main"}
    log_event(said.log, LogEvent.IN_DOUBT, "%d recipients are in doubt", 3, **fields)
    at = datetime.fromisoformat(said.line.pop("time"))
    assert at.utcoffset() == timedelta()
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=9)
    assert [*said.line] == [
        "time", "level", "event", "campaign", "batch", "attempt", "account", "message", "logger",
        "pid",
    ]  # fmt: skip
    assert said.line | fields == said.line
    assert said.line["level"] == "WARNING"
    assert said.line["event"] == "in_doubt"
    assert said.line["message"] == "3 recipients are in doubt"
    assert said.text.count("\n") == 1


def test_what_libraries_add_to_a_record_is_not_shown():
    said = Logged("json", io.StringIO())
    said.log.warning("a\nb", extra={"data": {"args": NUMBER}})
    assert [*said.line] == ["time", "level", "message", "logger", "pid"]
    assert said.text.count("\n") == 1


@pytest.mark.parametrize(
    ("wanted", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_auto_is_text_at_a_terminal_and_json_elsewhere(wanted, stream, is_json):
    said = Logged(wanted, stream)
    log_event(said.log, LogEvent.CAMPAIGN_ENDED, "campaign 11 ended", campaign=11)
    assert said.text.startswith("{") == is_json
    assert is_json or said.text == "INFO campaign 11 ended\n"


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_secrets_and_numbers_are_masked_in_words_and_tracebacks(wanted):
    said = Logged(wanted, io.StringIO())
    try:
        int(f"{NUMBER} {WRITTEN} {SECRETS[1]}")
    except ValueError:
        said.log.exception("to %s with %s", NUMBER, {"key": SECRETS[0]})
    assert "Traceback" in said.text
    assert said.text.count("9198••••1223") == 3
    assert not re.search(rf"{NUMBER}|98200|a-long|longer", said.text)


def test_ids_times_and_addresses_stay():
    said = Logged("text", io.StringIO())
    words = "batch 123456789 at 2026-11-30 09:14:07 of redis://10.0.0.12:6379 after 0.12345678901 s"
    said.log.warning(words)
    assert said.text == f"WARNING {words}\n"


def test_every_secret_of_a_configuration_is_known(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(
        """
        [store]
        url = "postgresql://me:of%40store@host/db"
        [broker]
        url = "sentinel://:of-broker@one;two/0?master_name=m&sentinel_password=of-sentinel"
        [notify]
        url = "https://hooks.example.com/x"
        secret = "of-notices-that-is-long"
        [accounts.main]
        provider = "voip_communications"
        api_key = "of-key"
        api_password = "of-password"
        proxy = "http://me:of-proxy@proxy:3128"
        """
    )
    assert load_settings(path, {}).secret_values() == {
        "of%40store", "of@store", "of-broker", "of-sentinel", "of-notices-that-is-long", "of-key",
        "of-password", "of-proxy",
    }  # fmt: skip


# --- What commands say ------------------------------------------------------------------------


def test_a_command_says_text_unless_json_is_wanted():
    said = []
    console = make_console("auto", said.append)
    console.announce(LogEvent.UP_READY, "ready: sending")
    console.show_line("worker1", '{"level": "INFO"}')
    assert said == ["ready: sending", 'worker1| {"level": "INFO"}']


def test_as_json_every_line_is_an_object_and_names_its_process():
    said = []
    console = make_console("json", said.append)
    console.announce(LogEvent.PROCESS_ENDED, "\nworker1 ended")
    console.show_line("worker1", '{"level":"INFO","message":"x"}')
    console.show_line("beat", 'a "line" of text')
    console.show_line("beat", "")
    own, of_worker, of_beat = map(json.loads, said)
    assert own["event"] == "process_ended"
    assert own["level"] == "WARNING"
    assert own["message"] == "worker1 ended"
    assert of_worker == {"process": "worker1", "level": "INFO", "message": "x"}
    assert of_beat == {"process": "beat", "message": 'a "line" of text'}


def test_up_knows_that_a_worker_is_ready_and_hides_its_lines_in_both_formats():
    worker, _beat = celery_children(Settings(), "redis://cache/0", level="warning")
    for wanted in ("text", "json"):
        said = Logged(
            wanted, io.StringIO(), "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
        )
        said.log.info("worker1@host ready.")
        assert re.search(worker.ready_pattern, said.text.strip())
        assert re.search(worker.hide, said.text)
        said = Logged(wanted, io.StringIO())
        log_event(said.log, LogEvent.IN_DOUBT, "it is ready. Not.")
        assert not re.search(worker.ready_pattern, said.text.strip())
        assert not re.search(worker.hide, said.text)


@pytest.mark.parametrize(
    ("wanted", "given"), [("auto", "text"), ("text", "text"), ("json", "json")]
)
def test_children_of_up_write_as_up_does(wanted, given):
    settings = Settings(log=LogSettings(format=wanted))
    every = [*celery_children(settings, "redis://h/0"), receiver_child(settings, "redis://h/0")]
    assert {child.env["DISPATCHER_LOG__FORMAT"] for child in every} == {given}


# --- The table of the runbook -----------------------------------------------------------------


def test_the_runbook_has_every_event():
    _before, rows, _after = event_table.split_page(event_table.PAGE.read_text(encoding="utf-8"))
    assert rows == event_table.render_rows(), "run `python -m tests.event_table`"


def sources():
    for package in house.PACKAGES:
        yield from (
            path.read_text(encoding="utf-8") for path in (house.ROOT / package).rglob("*.py")
        )


def test_every_event_is_logged_somewhere():
    used = {name for text in sources() for name in re.findall(r"\bLogEvent\.([A-Z_]+)", text)}
    assert {event.name for event in LogEvent} == used


def test_every_line_that_is_logged_is_an_event():
    without = re.compile(r"\blog\.(?:debug|info|warning|error|critical)\(.*")
    tracebacks = re.compile(r"\blog\.exception\((?:(?!extra=)[^)])*\).*")
    found = [text for text in sources() if without.search(text) or tracebacks.search(text)]
    assert found == []
