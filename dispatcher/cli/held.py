"""Says so wherever campaigns or accounts are shown, when nothing is released from the store."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.output import safe_text

if TYPE_CHECKING:
    from dispatcher.store.engine import Store


def warn_if_held(store: "Store") -> str | None:
    """Print to stderr why nothing is released; the reason, or None where all is well."""
    from dispatcher.witness import Witness

    held = Witness(store).judge()
    if held is not None:
        click.secho(f"NOTHING IS SENT: {safe_text(held)}", fg="red", bold=True, err=True)
    return held
