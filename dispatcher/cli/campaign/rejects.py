"""`--rejects`: the file of the rows that get no message."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.private_files import open_private
from dispatcher.errors import WrongPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dispatcher.recipients.preview import RejectedRow
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import ValidatedSubmission


def check_writable(path: Path) -> None:
    """Raise UsageProblem if `path` cannot be written, before a long file is read."""
    target = path if path.exists() else path.absolute().parent
    if not target.exists() or not os.access(target, os.W_OK):
        raise WrongPath(f"{path} cannot be written", "check the folder and its rights")


@contextmanager
def open_rejects(
    submission: "ValidatedSubmission", path: Path | None
) -> "Iterator[Callable[[RejectedRow], None]]":
    """A function that writes a row without a message to `path`; without one it does nothing."""
    from dispatcher.campaigns.export import RejectsFile

    if path is None:
        yield lambda _reject: None
        return
    headers = submission.file.file_headers if submission.request.keep_columns else ()
    with open_private(path) as out:
        rejects = RejectsFile(out, submission.request.account, headers)
        yield rejects.write_row
    _say_written(rejects.count, path)


def export_rejects(store: "Store", campaign_id: int, path: Path) -> None:
    """Write the rows without a message to a file. Raises UsageProblem if it cannot be written."""
    from dispatcher.campaigns.export import write_export
    from dispatcher.store import campaigns

    with store.read() as conn:
        campaign = campaigns.load_campaign(conn, campaign_id)
    assert campaign is not None
    with open_private(path) as out:
        count = write_export(store, campaign, out, rejects_only=True)
    _say_written(count, path)


def _say_written(count: int, path: Path) -> None:
    what = "row that gets" if count == 1 else "rows that get"
    click.echo(f"{count} {what} no message: {path}", err=True)
