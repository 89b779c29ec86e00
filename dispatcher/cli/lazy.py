"""A command group whose commands are imported when they run, not when they are listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

import click

from dispatcher.cli.unavailable import unavailable_command


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command as its group lists it; `target` is `module:name`, None for one not built yet."""

    target: str | None
    help: str


class LazyGroup(click.Group):
    """Listing, completing and suggesting its commands imports none of them."""

    def __init__(self, *, table: Mapping[str, Lazy], **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type] # click's own keywords, handed on
        self._table = table
        for name, entry in table.items():
            stub = click.Command(name, short_help=entry.help)
            self.add_command(stub if entry.target else unavailable_command(name, entry.help))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The table's order: a person's first commands come first."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is about to run, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        entry = self._table.get(name or "")
        if entry is not None and entry.target is not None:
            module, _, attribute = entry.target.partition(":")
            command = cast("click.Command", getattr(import_module(module), attribute))
        return name, command, rest
