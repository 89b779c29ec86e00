"""What a command gets: the configuration, read when first used, and its options as one value."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dispatcher.errors import WrongOptions, WrongValue

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings

Options = TypeVar("Options")


@dataclass
class Session:
    """One run of the command line.

    `config` is the path given with `--config`; `printed_as` are the options such as `json` with
    which a person asked for data.
    """

    config: Path | None = field(default=None)
    printed_as: list[str] = field(default_factory=list)

    @cached_property
    def settings(self) -> "Settings":
        """The configuration. Raises as `load_settings`."""
        from dispatcher.config.settings import load_settings

        return load_settings(self.config)


def with_options(
    kind: Callable[..., Options],
) -> Callable[[Callable[[click.Context, Options], None]], Callable[..., None]]:
    """Pass a command its parameters as one value of `kind`, which has a field for each.

    @click.command("send")
    @click.argument("number")
    @with_options(SendOptions)
    def send_command(ctx: click.Context, options: SendOptions) -> None: ...

    """

    def decorate(command: Callable[[click.Context, Options], None]) -> Callable[..., None]:
        @click.pass_context
        @wraps(command)
        def run(ctx: click.Context, /, **given: Any) -> None:
            command(ctx, kind(**given))

        return run

    return decorate


def refuse_empty_options(ctx: click.Context, but: Collection[str] = ()) -> None:
    """Raise UsageProblem for an option with an empty value: `--rate "$UNSET"` is a mistake.

    `but` are parameters that the command checks itself.
    """
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if param.name not in but and "" in (value if isinstance(value, tuple) else (value,)):
            name = max(param.opts, key=len)
            raise WrongValue(f"{name} is empty", "give it a value, or leave it out")


def only_one(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> str | None:
    """The one choice that was made of several options; click would let the last one count.

    A callback of options with `flag_value` and `multiple`. Raises WrongOptions if two were given.
    """
    if len(set(given)) > 1:
        names = " and ".join(f"--{name}" for name in dict.fromkeys(given))
        raise WrongOptions(
            f"{names} contradict each other; nothing was changed", "give one of them"
        )
    return given[0] if given else None


def session_of(ctx: click.Context) -> Session:
    """The run that a command belongs to."""
    return ctx.find_root().ensure_object(Session)


def settings_from(ctx: click.Context) -> "Settings":
    """The configuration of this run, read once. Raises ConfigError or NotAvailableYet."""
    return session_of(ctx).settings
