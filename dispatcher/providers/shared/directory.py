"""Chooses a campaign's sender and template among those that the provider lists for the account."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TypeVar

from dispatcher.errors import Refused, SenderRefused
from dispatcher.providers.base import RequestedRoute
from dispatcher.providers.shared.error_texts import one_line
from dispatcher.status import Kind
from dispatcher.types import Directory, Route, SenderId, Template

T = TypeVar("T")

_MAX_NAMED = 10


def choose_route(requested: RequestedRoute, directory: Directory) -> Route:
    """The one approved sender and template that fit the requested and each other.

    A sender is found by name, then by ref, then by name in any case; a template by ref, by id, by
    name, then by name in any case. If several have the same name, kind and approval decide.
    Raises Refused, naming what disagrees and the remedy.
    """
    senders = _find_senders(requested.sender, directory.senders)
    templates = _find_templates(requested.template, directory.templates)
    fitting: list[tuple[SenderId, Template]] = []
    refusals: list[Refused] = []
    for sender, template in product(senders, templates):
        refusal = _explain_mismatch(requested.kind, sender, template)
        if refusal is None:
            fitting.append((sender, template))
        else:
            refusals.append(refusal)
    if not fitting:
        raise refusals[0]
    if len({(sender.ref, template.ref) for sender, template in fitting}) > 1:
        pairs = (f"{sender.ref} with {template.ref}" for sender, template in fitting)
        raise SenderRefused(
            f"several senders and templates fit the names given: {_join_names(pairs)}",
            "give the sender's and the template's id instead of their names",
        )
    sender, template = fitting[0]
    return Route(
        sender=sender.name,
        template=template.name or template.ref,
        sender_ref=sender.ref,
        template_ref=template.ref,
        template_text=template.text or None,
    )


def _find_senders(wanted: str | None, senders: Sequence[SenderId]) -> list[SenderId]:
    if wanted is None:
        raise SenderRefused(
            "this account has no sender",
            "give --sender, or set `sender` under the account in the configuration",
        )
    found = _first_matches(
        senders,
        lambda sender: sender.name == wanted,
        lambda sender: sender.ref == wanted,
        lambda sender: sender.name.casefold() == wanted.casefold(),
    )
    if not found:
        raise SenderRefused(
            f"the provider knows no sender {one_line(wanted)!r} of this account",
            f"it has {_join_names(sender.name for sender in senders)}",
        )
    return found


def _find_templates(wanted: str | None, templates: Sequence[Template]) -> list[Template]:
    if wanted is None:
        raise SenderRefused(
            "this provider sends nothing without a template",
            "give --template, or set `template` under the account in the configuration",
        )
    found = _first_matches(
        templates,
        lambda template: template.ref == wanted,
        lambda template: template.id == wanted,
        lambda template: template.name == wanted,
        lambda template: template.name.casefold() == wanted.casefold(),
    )
    if not found:
        known = (f"{template.name} ({template.ref})" for template in templates)
        raise SenderRefused(
            f"the provider knows no template {one_line(wanted)!r} of this account",
            f"it has {_join_names(known)}",
        )
    return found


def _first_matches(entries: Sequence[T], *tests: Callable[[T], bool]) -> list[T]:
    for test in tests:
        found = [entry for entry in entries if test(entry)]
        if found:
            return found
    return []


def _explain_mismatch(kind: Kind, sender: SenderId, template: Template) -> Refused | None:
    """Why the two cannot carry a campaign of `kind`, else None. An empty field fits everything."""
    for what, entry in (("sender", sender), ("template", template)):
        name = entry.name or entry.ref
        if not entry.approved:
            status = entry.status or "not approved"
            return SenderRefused(
                f"the {what} {name!r} is not approved by the provider: {status}",
                f"wait for its approval, or give another {what}",
            )
        if entry.kind not in {None, kind}:
            return SenderRefused(
                f"the campaign is {kind}, but the {what} {name!r} is {entry.kind}",
                f"give --kind {entry.kind}, or another {what}",
            )
    owner = (template.sender or "").casefold()
    if owner and owner not in {sender.ref.casefold(), sender.name.casefold()}:
        return SenderRefused(
            f"the template {template.name or template.ref!r} belongs to the sender "
            f"{template.sender!r}, not to {sender.name!r}",
            f"give --sender {template.sender}, or another template",
        )
    return None


def _join_names(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - _MAX_NAMED} more" if len(every) > _MAX_NAMED else ""
    return (", ".join(every[:_MAX_NAMED]) or "none") + more
