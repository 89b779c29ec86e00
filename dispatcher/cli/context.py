"""What the commands of one run share: the configuration, read when a command first asks for it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dispatcher.config import Settings


@dataclass
class Session:
    """One run of the command line; `config` is what `--config` named."""

    config: Path | None = field(default=None)

    @cached_property
    def settings(self) -> "Settings":
        """The configuration. Raises as `load_settings`."""
        from dispatcher.config import load_settings

        return load_settings(self.config)


def session_of(ctx: click.Context) -> Session:
    """The run that a command belongs to."""
    return ctx.find_root().ensure_object(Session)


def settings_from(ctx: click.Context) -> "Settings":
    """The configuration of this run, read once. Raises ConfigError or NotAvailableYet."""
    return session_of(ctx).settings
