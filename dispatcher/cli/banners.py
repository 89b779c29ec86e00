"""Warnings shown wherever campaigns or accounts are shown: nothing is sent at all, and why."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.output import safe_text
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.store.engine import Store

#: The most accounts that one sentence names.
_NAMED: Final = 10


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


def warn_if_stopped(store: "Store") -> None:
    """Print to stderr that a person has stopped everything, or some accounts."""
    from dispatcher.store import stops

    with store.read() as conn:
        general, stopped = stops.find_general_stop(conn), stops.list_stopped(conn)
    if general is not None:
        words = f"EVERYTHING IS STOPPED {describe_stop(*general)}; `dispatcher go` continues"
    elif stopped:
        first = stopped[0]
        who = describe_stop(first.stopped_at, first.stopped_by, first.stop_reason)
        named = name_some([each.name for each in stopped])
        words = f"STOPPED: {named} ({who}); `dispatcher go` continues"
    else:
        return
    click.secho(safe_text(local_times(words)), fg="red", bold=True, err=True)


def describe_stop(at: datetime, actor: str, reason: str | None) -> str:
    """Who stopped it, since when, and why."""
    why = f": {reason}" if reason else ""
    return f"by {actor} since {at:%Y-%m-%d %H:%M:%S} UTC{why}"


def name_some(names: "Sequence[str]") -> str:
    """The first names of many, and how many others there are."""
    others = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {others} others" if others > 0 else "")


def scheduler_warning(store: "Store") -> str | None:
    """The warning that no scheduler is alive, and what to start; None while one is."""
    from dispatcher.campaigns.view import SCHEDULER_SILENT_S, scheduler_silence_s

    silence_s = scheduler_silence_s(store)
    if silence_s is not None and silence_s <= SCHEDULER_SILENT_S:
        return None
    seen = "yet" if silence_s is None else f"for {silence_s:.0f} s"
    return f"no scheduler seen {seen}: start one with `dispatcher up`"
