"""`dispatcher db backup | restore`: copies of the store while it is in use, and back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import pluralize, print_json
from dispatcher.cli.question import require_yes

if TYPE_CHECKING:
    from dispatcher.recovery.backup import BackupContent

_MIB = 1024 * 1024


@click.command("backup")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def db_backup(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Copy the store into a new file while everything runs, and read the copy again.

    The file has numbers, texts and keys of hashes: its mode is 0600. It is never overwritten.

    \b
    Example:
      dispatcher db backup store.backup
    """
    from dispatcher.recovery.backup import write_backup
    from dispatcher.store.engine import Store

    done = write_backup(Store(settings_from(ctx).store.url), path)
    if as_json:
        print_json(
            {
                "path": done.path,
                "bytes": done.size,
                **done.content._asdict(),
            }
        )
        return
    click.echo(
        f"{path}: {done.size / _MIB:,.1f} MiB, verified; {_content_words(done.content)}, "
        f"requests up to {done.content.attempt_id}"
    )


@click.command("restore")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def db_restore(ctx: click.Context, path: Path, yes: bool) -> None:
    """Put a backup into an empty store; then `dispatcher db adopt` says what may have been sent.

    Stop the workers and the scheduler first. What exists is never overwritten.

    \b
    Example:
      dispatcher db restore store.backup
    """
    from dispatcher.recovery.restore import restore_backup
    from dispatcher.store.engine import Store
    from dispatcher.store.revisions import newest_revision

    store = Store(settings_from(ctx).store.url)
    question = f"Put {path} into {store.name}? Nothing may run on it now."
    require_yes(question, yes, otherwise="nothing was restored")
    content = restore_backup(store, path)
    click.echo(f"restored: {_content_words(content)}")
    if content.revision != newest_revision():
        click.echo("its tables are of an older version: run `dispatcher db upgrade`")
    click.echo("run `dispatcher db adopt` next: it says what may have been sent since the backup")
    click.echo("opt-outs and erasures since the backup are not in it: make them again first")


def _content_words(content: "BackupContent") -> str:
    return (
        f"revision {content.revision}, {pluralize(content.campaigns, 'campaign')}, "
        f"{pluralize(content.messages, 'message')}"
    )
