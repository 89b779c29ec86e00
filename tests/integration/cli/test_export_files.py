"""Exports as files and on a terminal: who may read them, and what their cells may do."""

import io
import stat

import pytest

from dispatcher.cli.output import SafeLines
from dispatcher.cli.private_files import open_private
from dispatcher.errors import UsageProblem, WrongPath
from tests.support.cli import in_process
from tests.support.stores import add_account, order, submit

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v3"
sender = "SENDER"
country = "IN"
"""


@pytest.fixture
def run(sqlite_store, tmp_path, monkeypatch):
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")
    (tmp_path / "people.csv").write_text("phone\n9820011223\n12\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return lambda *args: in_process("--config", str(config), *args, folder=tmp_path)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_with_numbers_in_it_is_its_owners(run, sqlite_store, tmp_path):
    add_account(sqlite_store)
    submit(sqlite_store, order("phone,name\n9800000001,Asha\n12,nobody\n"))
    given = ("campaign", "submit", "people.csv", "--text", "Hello", "--rejects")
    for written, args in {
        "all.csv": ("campaign", "export", "1", "-o", "all.csv"),
        "some.csv": ("campaign", "export", "1", "--rejects", "-o", "some.csv"),
        "dry.csv": (*given, "dry.csv", "--dry-run"),
        "kept.csv": (*given, "kept.csv", "--yes"),
    }.items():
        ended = run(*args)
        assert (ended.code, mode(tmp_path / written)) == (0, 0o600), (args, ended)


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o644, 0o600), (0o666, 0o600), (0o604, 0o600), (0o640, 0o640), (0o660, 0o660)],
)
def test_a_file_that_everybody_could_read_is_closed(tmp_path, before, after):
    path = tmp_path / "export.csv"
    path.touch()
    path.chmod(before)
    with open_private(path) as out:
        (beside,) = tmp_path.glob(".export.csv.*.part")
        assert mode(beside) == after
        out.write("row\n")
    assert (mode(path), path.read_text()) == (after, "row\n")
    assert [one.name for one in tmp_path.iterdir()] == ["export.csv"]


def write(path, text, then=None, **options):
    with open_private(path, **options) as out:
        out.write(text)
        if then is not None:
            then()


@pytest.mark.parametrize("ended_by", [KeyboardInterrupt, SystemExit, OSError, ValueError])
@pytest.mark.parametrize("before", [None, "what was there\n"])
def test_a_file_that_did_not_become_whole_changes_nothing(tmp_path, ended_by, before):
    path = tmp_path / "export.csv"
    if before is not None:
        path.write_text(before)

    def end():
        raise ended_by

    with pytest.raises(WrongPath if ended_by is OSError else ended_by):
        write(path, "half a row", end)
    assert [one.read_text() for one in tmp_path.iterdir()] == ([before] if before else [])


def test_a_link_still_leads_to_the_file(tmp_path):
    path, soft, hard = (tmp_path / name for name in ("export.csv", "soft.csv", "hard.csv"))
    path.touch(mode=0o600)
    soft.symlink_to(path)
    with open_private(soft) as out:
        out.write("one\n")
    assert (soft.is_symlink(), path.read_text()) == (True, "one\n")
    hard.hardlink_to(path)
    with open_private(path) as out:
        out.write("two\n")
    assert hard.read_text() == "two\n"


def test_a_file_that_exists_is_replaced_only_if_that_was_said(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(WrongPath, match="exists already"):
        write(path, "ours", replace=False)
    new = tmp_path / "new.html"
    with pytest.raises(WrongPath, match="exists already"):
        write(new, "ours", lambda: new.write_text("theirs"), replace=False)
    assert (path.read_text(), new.read_text()) == ("mine", "theirs")


def test_what_is_no_file_keeps_its_rights(tmp_path):
    with open_private(type(tmp_path)("/dev/null")) as out:
        out.write("row\n")
    assert mode(type(tmp_path)("/dev/null")) == 0o666


def test_a_folder_that_is_missing_is_said(tmp_path):
    path = tmp_path / "gone" / "export.csv"
    what = r"export.csv cannot be written: No such file"
    with pytest.raises(UsageProblem, match=what), open_private(path):
        pass


@pytest.mark.parametrize(
    "cell",
    [
        "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "a\rb", "\u202eabc",
        "\x85next", "\u2028next",
    ],
)  # fmt: skip
def test_a_cell_does_nothing_to_a_terminal(store, cell):
    from dispatcher.campaigns.export import write_export
    from tests.support.stores import campaign_of

    add_account(store)
    file = f'phone,name\n9800000001,"x{cell}"\n12,"y{cell}\nz"\n'
    campaign = campaign_of(store, submit(store, order(file)))
    terminal = io.StringIO()
    assert write_export(store, campaign, SafeLines(terminal)) == 2
    lines = terminal.getvalue().split("\n")
    assert len(lines) == 4
    assert all(char.isprintable() for line in lines for char in line)
