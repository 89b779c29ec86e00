"""A group whose commands are imported when they run, not when they are listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, cast

import click

from dispatcher.cli.context import session_of
from dispatcher.cli.outcome import keeping_outcome


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command in its group's list; `target` is `module:name`."""

    target: str
    help: str
    #: Whether the command reads the configuration.
    configured: bool = True


CONFIG: Final = click.Option(
    ["--config"],
    metavar="PATH",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _param, value: _keep_config(ctx, value),
    help="The configuration file. [default: $DISPATCHER_CONFIG, ./dispatcher.toml, then the "
    "one in your configuration folder]",
)


def _keep_config(ctx: click.Context, value: Path | None) -> None:
    if value is not None:
        session_of(ctx).config = value


class ConfiguredGroup(click.Group):
    """A group whose commands take `--config` too, as in `dispatcher up --config FILE`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run, and give it `--config`."""
        name, command, rest = super().resolve_command(ctx, args)
        prepared = command and self.prepare_command(name or "", command)
        if prepared is not None and ctx.resilient_parsing:  # a shell completes a line
            from dispatcher.cli.completion import complete_names

            complete_names(prepared, self.name or "")
        return name, prepared, rest

    def prepare_command(self, name: str, command: click.Command) -> click.Command:
        """Add `--config` to a command, once, and keep the outcome of one that changes something."""
        if not isinstance(command, click.Group) and CONFIG not in command.params:
            command.params.append(CONFIG)
            if command.callback is not None:
                command.callback = keeping_outcome(f"{self.name} {name}", command.callback)
        return command


class LazyGroup(ConfiguredGroup):
    """A group that lists, completes and suggests its commands without importing them."""

    def __init__(self, *, table: Mapping[str, LazyCommand], **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type] # click's own keywords, handed on
        self._table = table
        for name, entry in table.items():
            self.add_command(click.Command(name, short_help=entry.help))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the table, where the commands needed first come first."""
        del ctx
        return list(self.commands)

    def prepare_command(self, name: str, command: click.Command) -> click.Command:
        """Import the command that `command` stands for."""
        entry = self._table.get(name)
        if entry is None:
            return command
        module, _, attribute = entry.target.partition(":")
        imported = cast("click.Command", getattr(import_module(module), attribute))
        return super().prepare_command(name, imported) if entry.configured else imported
