"""Renders the texts of stored messages. Texts are rendered when needed, never stored."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Protocol

import orjson

from dispatcher.campaigns.content import render_template
from dispatcher.providers.base import Provider
from dispatcher.store.rows import CampaignRow
from dispatcher.tuples import make_tuples
from dispatcher.types import Recipient

_CELLS = attrgetter("seq", "msisdn", "variables")


class StoredMessage(Protocol):
    """What a message's text is rendered from; `variables` is a JSON array."""

    @property
    def seq(self) -> int: ...

    @property
    def msisdn(self) -> int: ...

    @property
    def variables(self) -> str | None: ...


def render_messages(
    text: str, rows: Sequence[StoredMessage], template_columns: str | None = None
) -> tuple[Recipient, ...]:
    """Recipients with their texts, from rows with seq, msisdn and variables.

    With `template_columns` (as stored) the provider has the text, and they carry its values.
    """
    template = render_template(text, template_columns)
    # Each message stores the values of the fields, in their order.
    bound = template.bind_columns(template.field_names)
    if not rows:
        return ()
    seqs, msisdns, variables = zip(*map(_CELLS, rows), strict=True)
    values = _load_values(variables)
    texts: Iterable[str] = repeat("")
    template_values: Iterable[tuple[str, ...]] = repeat(())
    if template_columns is None:
        texts = bound.render_all(values)
    else:
        template_values = map(tuple, values)
    columns = zip(seqs, msisdns, texts, template_values, strict=False)
    return tuple(make_tuples(Recipient, columns))


def _load_values(variables: Sequence[str | None]) -> list[list[str]]:
    """The values of each message, from one JSON document for all."""
    values: list[list[str]] = orjson.loads(f"[{','.join(each or '[]' for each in variables)}]")
    return values


def needs_own_requests(campaign: CampaignRow, provider: Provider) -> bool:
    """Whether each different text of a campaign needs a request of its own at this provider."""
    if campaign.template_columns is not None:
        return True
    has_own_texts = bool(render_template(campaign.text, None).field_names)
    return has_own_texts and not provider.capabilities.personal_texts
