"""What the commands of one run share: the configuration, read when a command first asks for it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings


@dataclass
class Session:
    """One run of the command line; `config` is what `--config` named."""

    config: Path | None = field(default=None)

    @cached_property
    def settings(self) -> "Settings":
        """The configuration. Raises as `load_settings`."""
        from dispatcher.config.settings import load_settings

        return load_settings(self.config)


def refuse_empty_options(ctx: click.Context, but: Collection[str] = ()) -> None:
    """Raises UsageProblem for an option given as an empty text: `--rate "$UNSET"` is no "no limit".

    `but` are parameters that a command judges by itself.
    """
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if param.name not in but and "" in (value if isinstance(value, tuple) else (value,)):
            name = max(param.opts, key=len)
            raise UsageProblem(f"{name} is empty", "give it a value, or leave it out")


def session_of(ctx: click.Context) -> Session:
    """The run that a command belongs to."""
    return ctx.find_root().ensure_object(Session)


def settings_from(ctx: click.Context) -> "Settings":
    """The configuration of this run, read once. Raises ConfigError or NotAvailableYet."""
    return session_of(ctx).settings
