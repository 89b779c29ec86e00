"""Every error has a short code that stays, with a cause, a remedy, and a row of the table."""

import ast
import importlib

import pytest

from dispatcher.error_codes import EXPLANATIONS, ErrorCode
from dispatcher.errors import DispatcherError, ErrorKind, ProviderError
from tests.error_table import PAGE, render_page
from tests.house import modules
from tests.messages import subclasses
from tests.support.cli import in_process

#: Codes that no class of errors has: how the command line itself ends.
OF_THE_COMMAND_LINE = {ErrorCode.SYSTEM, ErrorCode.INTERNAL}


def every_error_class() -> list[type[DispatcherError]]:
    """Modules that define none are not imported: most of the program would be."""
    names = subclasses(modules().values(), "DispatcherError")
    for path, tree in modules().items():
        if any(isinstance(node, ast.ClassDef) and node.name in names for node in tree.body):
            importlib.import_module(path.removesuffix(".py").replace("/", "."))
    found: list[type[DispatcherError]] = [DispatcherError]
    for kind in found:
        found += [one for one in kind.__subclasses__() if one.__name__ in names]
    return found


def test_every_class_of_errors_has_a_code_with_its_exit_code_and_every_code_a_class():
    kinds = [kind for kind in every_error_class() if not issubclass(kind, ProviderError)]
    wrong = {k for k in kinds if EXPLANATIONS[k.error_code].exit_code != k.exit_code}
    assert wrong == set()
    used = {kind.error_code for kind in kinds} | OF_THE_COMMAND_LINE
    used |= {ProviderError(kind, "no").error_code for kind in ErrorKind}
    assert used == {*ErrorCode}


def test_every_code_is_explained_and_short():
    assert list(EXPLANATIONS) == list(ErrorCode)
    for code, found in EXPLANATIONS.items():
        assert code.startswith("E-"), code
        assert len(code) <= 20, code
        assert found.cause.endswith("."), code
        assert found.remedy.endswith("."), code


def test_the_table_of_codes_is_up_to_date():
    assert PAGE.read_text("utf-8") == render_page(), "run `python -m tests.error_table`"


@pytest.mark.parametrize("written", ["E-FILE", "e-file", "file"])
def test_a_code_is_explained_however_it_is_written(written, tmp_path):
    ended = in_process("explain", written, folder=tmp_path)
    assert ended.out.splitlines() == [
        "E-FILE (exit code 3)",
        f"What happened: {EXPLANATIONS[ErrorCode.FILE].cause}",
        f"What to do: {EXPLANATIONS[ErrorCode.FILE].remedy}",
    ]


def test_without_a_code_all_are_listed_and_a_wrong_one_names_the_nearest(tmp_path):
    listed = in_process("explain", folder=tmp_path).out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [*ErrorCode]
    ended = in_process("explain", "E-FIEL", folder=tmp_path)
    assert ended.code == 2
    assert ended.err.splitlines()[:2] == [
        "Error: there is no code 'E-FIEL'",
        "Hint: did you mean E-FILE?",
    ]


@pytest.mark.parametrize("command", [[], ["campaign"]])
def test_a_group_without_a_command_shows_its_help_and_no_code(command, tmp_path):
    ended = in_process(*command, folder=tmp_path)
    assert (ended.code, "Code:" in ended.err, "Commands:" in ended.err) == (2, False, True)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("nothing", "E-USAGE"),
        ("--nothing", "E-USAGE"),
        ("campaign list --nothing", "E-USAGE"),
        ("explain unknown", "E-NOT-FOUND"),
        ("campaign list", "E-CONFIG-MISSING"),
        ("--config gone.toml campaign list", "E-CONFIG-MISSING"),
    ],
)
def test_an_error_ends_with_its_code(command, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = in_process(*command.split(), folder=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert ended.code == 2
    assert ended.err.endswith(f"Code: {code} (`dispatcher explain {code}` says more)\n"), ended.err
