"""Runs the `dispatcher` command in a process of its own, in a clean environment."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from tests.support import warm

ROOT = Path(__file__).parents[2]
_CONFIG = """
[store]
url = "{url}"
[accounts.main]
provider = "thesmspoint"
api_key = "a-key-of-a-test"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def clean_environment(home: Path) -> dict[str, str]:
    """This process's environment without our variables; nothing is read from or written to `~`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "THESMSPOINT_KEY"):
        kept.pop(name, None)
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT)}


def write_config(folder: Path, store_url: str) -> Path:
    """A configuration with this store and one account, `main`, that nobody else can read."""
    path = folder / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(_CONFIG.format(url=store_url), encoding="utf-8")
    return path


def dispatcher(*args: str, folder: Path, env: Mapping[str, str] | None = None) -> Ended:
    """`dispatcher ARGS`, started in `folder`, which is also its home."""
    environment = clean_environment(folder) | dict(env or {})
    with tempfile.TemporaryDirectory(prefix="said-") as said:
        out, err = Path(said, "out"), Path(said, "err")
        process = warm.spawn("dispatcher", args, folder=folder, env=environment, out=out, err=err)
        try:
            code = process.wait(60)
        finally:
            process.kill()
        return Ended(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def in_process(*args: str, folder: Path, env: Mapping[str, str] | None = None) -> Ended:
    """As `dispatcher`, but without a start-up time: where many commands are tested by their end."""
    from click.testing import CliRunner

    from dispatcher.cli import cli

    given = {"HOME": str(folder), "XDG_STATE_HOME": None, **(env or {})}
    ended = CliRunner().invoke(cli, args, env=given, catch_exceptions=False)
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


def every_command(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, imported, with its way from the top."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        _, command, _ = group.resolve_command(ctx, [name])
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command
