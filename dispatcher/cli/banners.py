"""Warnings shown wherever campaigns or accounts are shown: nothing is sent at all, and why."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.output import safe_text

if TYPE_CHECKING:
    from dispatcher.store.engine import Store


def warn_if_held(store: "Store") -> str | None:
    """Print to stderr why this store may not send; returns the reason, None if it may.

    Also warns if this user may not read the witness file.
    """
    from dispatcher.recovery.mark_file import UnreadableMark
    from dispatcher.recovery.rollback_guard import RollbackGuard

    try:
        held = RollbackGuard(store).find_hold_reason()
    except UnreadableMark as error:
        warning = f"whether sending is allowed cannot be checked: {error.in_one_line}"
        click.secho(f"warning: {safe_text(warning)}", fg="yellow", err=True)
        return None
    if held is not None:
        click.secho(f"NOTHING IS SENT: {safe_text(held)}", fg="red", bold=True, err=True)
    return held


def scheduler_warning(store: "Store") -> str | None:
    """The warning that no scheduler is alive, and what to start; None while one is."""
    from dispatcher.campaigns.view import SCHEDULER_SILENT_S, scheduler_silence_s

    silence_s = scheduler_silence_s(store)
    if silence_s is not None and silence_s <= SCHEDULER_SILENT_S:
        return None
    seen = "yet" if silence_s is None else f"for {silence_s:.0f} s"
    return f"no scheduler seen {seen}: start one with `dispatcher up`"
