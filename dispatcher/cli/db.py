"""`dispatcher db`: the store's tables and their version."""

from typing import Final

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.lazy import LazyCommand, LazyGroup

COMMANDS: Final = {
    "upgrade": LazyCommand("dispatcher.cli.db:db_upgrade", "Create or upgrade the tables."),
    "current": LazyCommand("dispatcher.cli.db:db_current", "Show the version of the tables."),
    "backup": LazyCommand(
        "dispatcher.cli.db_backup:db_backup", "Copy the store into a file, while it is in use."
    ),
    "restore": LazyCommand(
        "dispatcher.cli.db_backup:db_restore", "Put a backup into an empty store."
    ),
    "adopt": LazyCommand(
        "dispatcher.cli.db_adopt:db_adopt", "Accept a store restored from a backup."
    ),
}


@click.group("db", cls=LazyGroup, table=COMMANDS)
def db_group() -> None:
    """Create, upgrade, back up, restore and adopt the store.

    \b
    Example:
      dispatcher db upgrade
    """


@click.command("upgrade")
@click.pass_context
def db_upgrade(ctx: click.Context) -> None:
    """Create the store's tables, or upgrade them. `dispatcher up` does this by itself.

    \b
    Example:
      dispatcher db upgrade
    """
    from dispatcher.store import migrate

    before, after = migrate.upgrade_store(settings_from(ctx).store.url)
    if before == after:
        click.echo(f"the store is already at revision {after}")
    else:
        click.echo(f"the store was upgraded from {before or 'nothing'} to revision {after}")


@click.command("current")
@click.pass_context
def db_current(ctx: click.Context) -> None:
    """Show the version of the store's tables.

    \b
    Example:
      dispatcher db current
    """
    from dispatcher.store import migrate
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    wrong = migrate.revision_problem(store)
    what = "this program's version, nothing to do"
    if wrong is not None:
        what = "`dispatcher db upgrade` brings it to this program's version"
    click.echo(f"{store.name}: {migrate.current_revision(store) or 'no tables yet'}; {what}")
