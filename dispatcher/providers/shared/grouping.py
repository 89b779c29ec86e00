"""Puts recipients of one text together, for providers whose requests carry one text."""

from collections.abc import Iterable

from dispatcher.types import Recipient


def group_by_text(recipients: Iterable[Recipient]) -> list[tuple[Recipient, ...]]:
    """`recipients` in groups of one text each; groups and members in order of appearance."""
    groups: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        groups.setdefault(recipient.text, []).append(recipient)
    return [tuple(group) for group in groups.values()]
