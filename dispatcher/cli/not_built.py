"""Commands that are documented but not built yet: listed as such, and refused by name."""

import click

from dispatcher.errors import NotAvailableYet


def unavailable_command(name: str, short_help: str = "") -> click.Command:
    """A command that takes any arguments and refuses to run; its help says that it is missing."""

    @click.pass_context
    def refuse_command(ctx: click.Context) -> None:
        raise NotAvailableYet(
            f"`{ctx.command_path}` is not available yet",
            f"`{ctx.find_root().info_name} --help` lists the commands that are",
        )

    return click.Command(
        name,
        callback=refuse_command,
        help=f"Not available yet. {short_help}".strip(),
        short_help=f"(not available yet) {short_help}".strip(),
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        options_metavar="…",
    )
