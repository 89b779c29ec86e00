"""`dispatcher completion`: what a shell needs to complete commands, options and names."""

import re
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import safe_text
from dispatcher.errors import DispatcherError

_VARIABLE: Final = "_DISPATCHER_COMPLETE"
#: Names that need no quotes in any shell; the others are completed by their ids.
_PLAIN: Final = re.compile(r"[\w.@%+:,-]+")
_MOST: Final = 50


class CampaignName(click.types.StringParamType):
    """A text; shells complete it by ids and names of the newest campaigns."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Ids with the names beside them, and names."""
        del param
        try:
            found = _newest_campaigns(ctx)
        except DispatcherError:  # a shell shows no errors
            return []
        ids = [CompletionItem(str(key), help=safe_text(name)) for key, name in found]
        names = [
            CompletionItem(name) for name in dict.fromkeys(name for _, name in found)
            if _PLAIN.fullmatch(name)
        ]  # fmt: skip
        return [item for item in (*ids, *names) if item.value.startswith(incomplete)]


class AccountName(click.types.StringParamType):
    """A text; shells complete it by the configured accounts."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The accounts of the configuration."""
        del param
        try:
            names = [*settings_from(ctx).accounts]
        except DispatcherError:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_names(command: click.Command, group: str) -> None:
    """Let a shell complete the campaigns and accounts among the parameters of a command."""
    for param in command.params:
        shown = param.metavar or ""
        if "--account" in param.opts or "--fallback" in param.opts:
            param.type = AccountName()
        elif "--campaign" in param.opts or (
            isinstance(param, click.Argument) and "CAMPAIGN" in shown
        ):
            param.type = CampaignName()
        elif group == "account" and isinstance(param, click.Argument):
            param.type = AccountName()


def _newest_campaigns(ctx: click.Context) -> list[tuple[int, str]]:
    from contextlib import closing

    from dispatcher.store.campaign_search import list_newest
    from dispatcher.store.engine import Store

    with closing(Store(settings_from(ctx).store.url)) as store, store.read() as conn:
        return [(row.id, row.name) for row in list_newest(conn, limit=_MOST)]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print what a SHELL needs to complete commands, options, campaigns and accounts.

    Write it into a file that the shell reads at its start; for one session it can be evaluated.

    \b
    Example:
      dispatcher completion bash \\
        > ~/.local/share/bash-completion/completions/dispatcher
      dispatcher completion zsh > ~/.zfunc/_dispatcher
      dispatcher completion fish > ~/.config/fish/completions/dispatcher.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "dispatcher", _VARIABLE).source())
