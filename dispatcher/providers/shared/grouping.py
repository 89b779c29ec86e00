"""Groups recipients by text, for providers whose requests carry one text."""

from collections.abc import Iterable

from dispatcher.types import Recipient


def group_by_text(recipients: Iterable[Recipient]) -> list[tuple[Recipient, ...]]:
    """`recipients` in groups of one text each; groups and members keep their order."""
    groups: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        groups.setdefault(recipient.text, []).append(recipient)
    return [tuple(group) for group in groups.values()]


def join_msisdns(recipients: Iterable[Recipient]) -> str:
    """The numbers of `recipients` as `919810012345,919810067890`."""
    return ",".join(str(recipient.msisdn) for recipient in recipients)
