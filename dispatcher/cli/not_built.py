"""Refuses, by name, the documented commands and options whose behaviour is not built yet."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from dispatcher.errors import NotAvailableYet

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def unavailable_command(name: str, short_help: str = "") -> click.Command:
    """A command that takes any arguments and is refused, also with `--help` listed as such."""

    @click.pass_context
    def refuse(ctx: click.Context) -> None:
        raise NotAvailableYet(f"`{ctx.command_path}` is not available yet")

    return click.Command(
        name,
        callback=refuse,
        help=f"Not available yet. {short_help}".strip(),
        short_help=f"(not available yet) {short_help}".strip(),
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        options_metavar="…",
    )


def unavailable_options(
    *options: str, flags: Sequence[str] = ()
) -> Callable[[Decorated], Decorated]:
    """Declare options that take a value, and flags, which are refused by name when given.

        @click.command("submit")
        @unavailable_options("--rate", "--fallback", flags=("--flash",))
        def submit(...): ...

    They are left out of the help, pass nothing to the function, and are judged before anything
    else, so that a missing argument does not hide them.
    """

    def decorate(function: Decorated) -> Decorated:
        for name in options:
            function = _option(name, is_flag=False)(function)
        for name in flags:
            function = _option(name, is_flag=True)(function)
        return function

    return decorate


def _option(name: str, *, is_flag: bool) -> Callable[[Decorated], Decorated]:
    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
        del param
        if value:
            raise NotAvailableYet(f"`{ctx.command_path} {name}` is not available yet")

    return click.option(
        name,
        callback=refuse,
        hidden=True,
        is_eager=True,
        expose_value=False,
        is_flag=is_flag,
        multiple=not is_flag,
    )
