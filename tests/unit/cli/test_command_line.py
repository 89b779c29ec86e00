"""The command line as a person meets it: help, exit codes, and never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dispatcher import __version__
from dispatcher.cli import COMMANDS, cli
from dispatcher.cli.context import session_of, settings_from
from dispatcher.cli.exit import report_errors
from dispatcher.cli.lazy import LazyCommand, LazyGroup
from dispatcher.errors import ConfigError, Refused, StoreError
from dispatcher.store.revisions import newest_revision
from tests.support.cli import clean_environment, dispatcher, every_command

ACCOUNT = '[accounts.main]\nprovider = "thesmspoint"\napi_key = "literal"\n'


def test_the_help_lists_every_command():
    out = CliRunner().invoke(cli, ["--help"]).output
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    for name, entry in COMMANDS.items():
        assert entry.help.split(".", maxsplit=1)[0] in lines[name]


def test_the_version_is_printed_with_that_of_the_tables():
    ended = CliRunner().invoke(cli, ["--version"])
    assert ended.output == f"dispatcher, version {__version__} (tables {newest_revision()})\n"


def files(folder: Path) -> None:
    for name, text in {
        "account": ACCOUNT,
        "unknown_key": ACCOUNT + "sendr = 'X'\n",
        "bad_toml": "[store\n",
        "no_variable": ACCOUNT.replace("literal", "$NO_SUCH_VARIABLE"),
    }.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("account check", 2, ["no configuration found", "dispatcher init"]),
        ("--config gone.toml account check", 2, ["gone.toml", "does not exist"]),
        ("--config account.toml account check mian", 2, ["no account 'mian'", "mean main?"]),
        ("--config unknown_key.toml account check", 2, ["unknown_key.toml", "mean sender?"]),
        ("--config bad_toml.toml account check", 2, ["bad_toml.toml, line 1"]),
        ("--config no_variable.toml account check", 2, ["api_key", "NO_SUCH_VARIABLE"]),
        ("receiver --port 70000", 2, ["--port", "70000"]),
        ("metrics --port 70000", 2, ["--port", "70000"]),
        ("acount check", 2, ["No such command", "Did you mean 'account'?"]),
        ("account chekc", 2, ["No such command", "Did you mean 'check'?"]),
        ("account check --jsn", 2, ["No such option", "--json"]),
        ("--config", 2, ["requires an argument"]),
    ],
)
def test_a_mistake_ends_with_its_exit_code_and_a_sentence(tmp_path, command, code, words):
    files(tmp_path)
    ended = dispatcher(*command.split(), folder=tmp_path)
    assert ended.code == code
    assert [word for word in words if word not in ended.err] == [], ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


@click.command()
@click.argument("what")
def fail(what: str) -> None:
    """Raises the given error, as commands may."""
    with report_errors():
        raise {
            "refused": Refused("no\x1b[31m money", "top\nup"),
            "store": StoreError("two\nlines"),
            "interrupt": KeyboardInterrupt(),
            "abort": click.Abort(),
            "defect": ValueError("919800000001"),
            "file": PermissionError(13, "Permission denied", "/some/file"),
        }[what]


def ends_with(code: str) -> str:
    return f"Code: {code} (`dispatcher explain {code}` says more)\n"


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ("refused", 3, "Error: no[31m money\nHint: top up\n" + ends_with("E-REFUSED")),
        ("store", 1, "Error: two\n  lines\n" + ends_with("E-STORE")),
        ("interrupt", 130, "\nInterrupted.\n"),
        ("abort", 130, "\nInterrupted.\n"),
        (
            "file",
            1,
            "Error: /some/file: Permission denied\nHint: check the path, its rights and the disk\n"
            + ends_with("E-SYSTEM"),
        ),
    ],
)
def test_an_error_becomes_a_line_and_an_exit_code(what, code, told):
    ended = CliRunner().invoke(fail, [what])
    assert (ended.exit_code, ended.stderr) == (code, told)


def test_a_defect_is_one_line_and_its_report_holds_places_but_no_values(tmp_path):
    env = {"XDG_STATE_HOME": str(tmp_path), "DISPATCHER_DEBUG": None}
    ended = CliRunner().invoke(fail, ["defect"], env=env)
    report = tmp_path / "dispatcher" / "last-error.txt"
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: unexpected ValueError")
    assert str(report) in ended.stderr
    text = report.read_text(encoding="utf-8")
    assert "ValueError" in text
    assert "test_command_line.py" in text
    assert "919800000001\n" not in ended.stderr + text.replace('"919800000001"', "")


def test_with_debug_a_defect_shows_everything(tmp_path):
    env = {"XDG_STATE_HOME": str(tmp_path), "DISPATCHER_DEBUG": "1"}
    ended = CliRunner().invoke(fail, ["defect"], env=env)
    assert ended.exit_code == 1
    assert "Traceback" in ended.stderr
    assert "ValueError: 919800000001" in ended.stderr


def test_a_defect_is_named_even_if_no_report_can_be_written(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    env = {"XDG_STATE_HOME": str(tmp_path / "file"), "DISPATCHER_DEBUG": None}
    ended = CliRunner().invoke(fail, ["defect"], env=env)
    assert "unexpected ValueError" in ended.stderr
    assert "stands in" not in ended.stderr


def test_a_closed_pipe_is_not_an_error_where_a_command_only_prints(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "dispatcher", "explain", "E-FILE"],
            cwd=tmp_path,
            env=clean_environment(tmp_path),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN),
        )
    finally:
        os.close(writing)
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("args", "streams", "code"),
    [
        ("init", ">&-", 0),
        ("init", ">&- 2>&-", 0),
        ("account check", "2>/dev/full", 2),
        ("account check", "2>&-", 2),
        ("--help", ">&-", 0),
    ],
)
def test_a_closed_or_full_output_changes_no_exit_code(tmp_path, args, streams, code):
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m dispatcher {args} {streams}"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        check=False,
    )
    assert ended.returncode == code


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m dispatcher explain E-FILE > /dev/full"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "Error: No space left on device\n"
        "Hint: check the disk, and where the output of the command goes\n" + ends_with("E-SYSTEM")
    )


def test_the_configuration_is_read_once_when_a_command_asks_for_it(tmp_path):
    file = tmp_path / "dispatcher.toml"
    file.write_text(ACCOUNT, encoding="utf-8")
    seen = []

    @click.command()
    @click.option("--config", type=click.Path(path_type=Path))
    @click.pass_context
    def ask(ctx, config):
        session_of(ctx).config = config
        seen.extend([settings_from(ctx), settings_from(ctx)])

    ended = CliRunner().invoke(ask, ["--config", str(file)], catch_exceptions=False)
    assert ended.exit_code == 0
    assert seen[0] is seen[1]
    assert seen[0].path == file


def test_a_lazy_group_imports_a_command_when_it_runs():
    table = {
        "check": LazyCommand("dispatcher.cli.account.remote:account_check", "Ask."),
        "broken": LazyCommand("dispatcher.no_such_module:command", "Cannot be imported."),
    }
    group = LazyGroup(name="group", table=table)
    assert "Cannot be imported." in CliRunner().invoke(group, ["--help"]).output
    assert "Ask the provider" in CliRunner().invoke(group, ["check", "--help"]).output
    assert isinstance(CliRunner().invoke(group, ["broken"]).exception, ModuleNotFoundError)


def test_config_may_stand_before_or_after_the_command(tmp_path):
    gone = str(tmp_path / "gone.toml")
    option = ["--config", gone]
    for args in (
        [*option, "doctor"],
        ["doctor", *option],
        ["account", "list", *option],
        ["campaign", "list", *option],
    ):
        ended = CliRunner().invoke(cli, args, catch_exceptions=False)
        assert ended.exit_code == 2
        assert f"the file {gone} that --config names does not exist" in ended.stderr


def test_commands_that_read_no_configuration_take_none():
    for command in ("demo", "simulator"):
        ended = CliRunner().invoke(cli, [command, "--config", "x.toml"], catch_exceptions=False)
        assert (ended.exit_code, "No such option" in ended.stderr) == (2, True)


def test_every_command_and_option_has_help():
    """That each stands in the reference, too, is in `documents/test_references.py`."""
    missing = []
    for path, command in every_command(cli):
        assert command.help, path
        options = [one for one in command.params if isinstance(one, click.Option)]
        missing += [(path, one.name) for one in options if not one.hidden and not one.help]
    assert missing == []


def test_every_command_that_is_built_has_an_example():
    built = [(path, command) for path, command in every_command(cli) if not is_unavailable(command)]
    assert len(built) > 25
    assert [path for path, command in built if "Example:" not in command.help] == []


def is_unavailable(command):
    return command.help.startswith("Not available yet")


def test_a_configuration_error_has_the_exit_code_of_wrong_usage():
    assert ConfigError("x").exit_code == 2
