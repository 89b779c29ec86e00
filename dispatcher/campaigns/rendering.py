"""Renders the texts of stored messages. Texts are rendered when needed, never stored."""

from collections.abc import Sequence
from typing import Protocol

import orjson

from dispatcher.campaigns.content import render_template
from dispatcher.providers.base import Provider
from dispatcher.store.rows import CampaignRow
from dispatcher.types import Recipient


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
    recipients = []
    for row in rows:
        values = orjson.loads(row.variables) if row.variables else []
        if template_columns is None:
            recipient = Recipient(row.seq, row.msisdn, bound.render_values(values))
        else:
            recipient = Recipient(row.seq, row.msisdn, "", tuple(values))
        recipients.append(recipient)
    return tuple(recipients)


def needs_own_requests(campaign: CampaignRow, provider: Provider) -> bool:
    """Whether each different text of a campaign needs a request of its own at this provider."""
    if campaign.template_columns is not None:
        return True
    has_own_texts = bool(render_template(campaign.text, None).field_names)
    return has_own_texts and not provider.capabilities.personal_texts
