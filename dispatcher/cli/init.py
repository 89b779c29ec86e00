"""`dispatcher init`: write a commented configuration, and say what to do next."""

import os
import secrets
from importlib.resources import files
from pathlib import Path

import click

from dispatcher.cli.context import session_of
from dispatcher.errors import Refused, WrongPath

_NEXT_STEPS = """\
Wrote {path}. Next:
  1. export THESMSPOINT_KEY=…          the key of your account
  2. edit {path}: the sender, the template and the country
  3. dispatcher {config}account check main     asks the provider; sends nothing
  4. dispatcher {config}doctor
  5. dispatcher {config}up
`dispatcher demo` needs none of this: it simulates the provider on this machine."""


@click.command("init")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.pass_context
def init_command(ctx: click.Context, path: Path | None, *, force: bool) -> None:
    """Write a commented configuration to PATH. [default: ./dispatcher.toml]

    Only you can read the file. If PATH is a folder, the file is dispatcher.toml in it.

    \b
    Example:
      dispatcher init
      dispatcher init /etc/dispatcher/dispatcher.toml
    """
    target = path or session_of(ctx).config or Path("dispatcher.toml")
    if target.is_dir():
        target /= "dispatcher.toml"
    if not target.parent.is_dir():
        raise WrongPath(f"the folder {target.parent} does not exist", "create it first")
    _write_config(target, starter_config(), force=force)
    config = "" if target == Path("dispatcher.toml") else f"--config {target} "
    click.echo(_NEXT_STEPS.format(path=target, config=config))


def starter_config() -> str:
    """The text of a new configuration file."""
    return files("dispatcher.cli").joinpath("starter.toml").read_text(encoding="utf-8")


def _write_config(target: Path, text: str, *, force: bool) -> None:
    """Write the file completely or not at all; nobody else can read it at any time."""
    if target.exists() and not force:
        raise Refused(f"{target} already exists", "edit it, or replace it with --force")
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
        draft.replace(target)
    except OSError as error:
        raise WrongPath(
            f"{target} cannot be written: {error.strerror}",
            "check the folder, its rights and the disk",
        ) from None
    finally:
        draft.unlink(missing_ok=True)
