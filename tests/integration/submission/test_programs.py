"""`dispatcher.submit` and `dispatcher.show`: what the commands do, as typed values."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import dispatcher
from dispatcher import errors
from dispatcher.error_codes import ErrorCode
from tests.support.cli import ROOT
from tests.support.cli import dispatcher as command

CONFIG = """
[store]
url = "sqlite:///{folder}/store.db"
[accounts.main]
provider = "aoc_portal"
api_key = "k"
base_url = "http://127.0.0.1:9"
sender = "SENDER"
country = "IN"
confirm_above_recipients = 3
"""
ROWS = [{"phone": f"98200112{n:02}", "name": name} for n, name in enumerate(["Asha", "Ravi", None])]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "dispatcher.toml"
    path.touch(0o600)
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


def test_rows_become_a_campaign_as_by_the_command(config, capfd):
    done = dispatcher.submit(
        [*ROWS, {"phone": "12", "name": "Short"}, ROWS[0]],
        text="Dear {{name|customer}}, hello",
        name="spring",
        idempotency_key="order-7",
        priority=5,
        start_at=datetime.now(UTC) + timedelta(days=1),
        config=config,
    )
    assert (done.name, done.state, done.account, done.was_known) == (
        "spring", "scheduled", "main", False,
    )  # fmt: skip
    assert (done.counts["total"], done.counts["invalid"], done.counts["duplicate"]) == (3, 1, 1)
    assert [one.row for one in done.rejects] == [4, 5]
    assert "".join(capfd.readouterr()) == "", "a library prints nothing"
    again = dispatcher.submit(
        [*ROWS, {"phone": "12", "name": "Short"}, ROWS[0]],
        text="Dear {{name|customer}}, hello",
        idempotency_key="order-7",
        config=str(config),
    )
    assert (again.id, again.was_known, again.rejects) == (done.id, True, ())
    shown = dispatcher.show("spring", config=config)
    assert (shown.id, shown.state, shown.is_over) == (done.id, "scheduled", False)
    printed = command(
        "campaign", "show", str(done.id), "--json", "--config", str(config), folder=config.parent
    )
    assert json.loads(printed.out)["counts"] == dict(shown.counts) == dict(done.counts)


def test_a_file_is_read_as_by_the_command(config, tmp_path):
    (tmp_path / "people.csv").write_text("Mobile;Full Name\n9820011200;Asha\n")
    done = dispatcher.submit(
        tmp_path / "people.csv", text="Dear {{name}}", mapping={"name": "Full Name"}, config=config
    )
    assert (done.name, done.counts["total"]) == ("people", 1)


@pytest.mark.parametrize(
    ("rows", "options", "kind", "code"),
    [
        ([], {"text": "x"}, errors.FileRefused, ErrorCode.FILE),
        (ROWS, {}, errors.WrongOptions, ErrorCode.OPTIONS),
        (ROWS, {"text": "Dear {{who}}"}, errors.Refused, None),
        (ROWS, {"text": "x", "account": "other"}, errors.NoSuchAccount, ErrorCode.NOT_FOUND),
        (ROWS, {"text": "x", "flash": True, "confirm": 7}, errors.Refused, ErrorCode.REFUSED),
        (ROWS, {"text": "x", "windows": ["xyz"]}, errors.UsageProblem, None),
        (ROWS, {"text": "x", "start_at": datetime(2030, 1, 1)}, errors.WrongValue, None),  # noqa: DTZ001
        ([{"phone": "1"}], {"text": "x"}, errors.FileRefused, ErrorCode.FILE),
        ([ROWS[0], {"phone": "1", "x": "y"}], {"text": "x"}, errors.WrongValue, None),
        (
            [{"phone": f"98200113{n:02}"} for n in range(4)], {"text": "x"},
            errors.Refused, ErrorCode.REFUSED,
        ),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_the_command_refuses_is_refused_with_its_code(config, rows, options, kind, code):
    with pytest.raises(kind) as refused:
        dispatcher.submit(rows, config=config, **options)
    assert code is None or refused.value.error_code is code
    with pytest.raises(errors.DispatcherError):
        dispatcher.show(2, config=config)


def test_the_same_content_a_second_time_needs_again(config):
    first = dispatcher.submit(ROWS, text="x", config=config)
    with pytest.raises(errors.RepeatRefused):
        dispatcher.submit(ROWS, text="x", config=config)
    assert dispatcher.submit(ROWS, text="x", again=True, config=config).id > first.id


def test_a_suppressed_number_gets_nothing(config):
    done = command("suppression", "add", "+919820011200", "--config", str(config),
                   folder=config.parent)  # fmt: skip
    assert done.code == 0
    submitted = dispatcher.submit(ROWS, text="x", config=config)
    assert (submitted.counts["total"], submitted.counts["suppressed"]) == (2, 1)


def test_the_example_of_the_guide_runs(config, monkeypatch, capsys):
    page = (ROOT / "dispatcher/cli/README.md").read_text("utf-8")
    example = page.partition("## From a program")[2].partition("```python\n")[2]
    monkeypatch.setenv("DISPATCHER_CONFIG", str(config))
    code = compile(example.partition("```")[0], "README.md", "exec")
    for known in (False, True):
        exec(code, {})
        assert capsys.readouterr().out == f"1 2 () {known}\nscheduled\n"


def test_importing_the_package_loads_nothing():
    code = "import dispatcher, sys; print(sorted(m for m in sys.modules if 'dispatcher' in m))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['dispatcher']"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dispatcher.no_such_name
