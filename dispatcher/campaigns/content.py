"""What a campaign sends: a text with placeholders, or a provider's template and its variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from dispatcher.errors import TextRefused
from dispatcher.providers.base import Provider
from dispatcher.status import Encoding, Kind
from dispatcher.store.json_columns import decode_texts
from dispatcher.text.segments import measure_text, normalize
from dispatcher.text.template import Placeholder, TextTemplate
from dispatcher.types import Recipient, Route, SubmitBatch

#: A variable in the templates that Indian operators register (TRAI's DLT).
_VARIABLE: Final = "{#var#}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a person asked to send.

    Without `text`, the provider's template is sent; `template_columns` fill its variables in
    order. `schedule_at` is when the provider sends it. The provider keeps the `contact_lists`.
    """

    text: str | None = None
    normalize: bool = False
    template_columns: Sequence[str] = ()
    flash: bool = False
    schedule_at: datetime | None = None
    contact_lists: Sequence[str] = ()

    def stored_columns(self, written: "ResolvedContent") -> dict[str, Any]:
        """Values for the columns of the campaign's row."""
        names, lists = written.template_columns, self.contact_lists
        return {
            "text": written.text,
            "template_columns": None if names is None else orjson.dumps(names).decode(),
            "flash": self.flash,
            "schedule_at": self.schedule_at,
            "contact_lists": orjson.dumps(lists).decode() if lists else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedContent:
    """The content as it is stored and rendered. `text` is empty if only the provider has it."""

    text: str
    template: TextTemplate
    #: If the provider fills its own template: the columns of its variables, in its order.
    template_columns: Sequence[str] | None = None


def resolve_content(content: Content, provider: Provider, route: Route) -> ResolvedContent:
    """Find the text and its placeholders. Raises Refused for a text that cannot be sent."""
    if content.text is not None:
        return _resolve_text(content, content.text, provider)
    if route.template is None:
        raise TextRefused("there is no text", "give --text, --text-file or --template")
    if provider.capabilities.template_variables:
        slots = tuple(Placeholder(name, None) for name in content.template_columns)
        # Only to estimate the size: we do not know the template's own words.
        literals = (route.template, *(" " for _ in slots))
        template = TextTemplate(literals, slots)
        return ResolvedContent(
            text="", template=template, template_columns=content.template_columns
        )
    if route.template_text is None:
        raise TextRefused(
            "this provider does not show the text of its templates",
            "give the text: --text or --text-file",
        )
    return _resolve_text(
        content, _fill_placeholders(route.template_text, content.template_columns), provider
    )


def try_request(
    content: Content, written: ResolvedContent, provider: Provider, route: Route, kind: Kind
) -> None:
    """Build one request to see that the adapter can. Raises Refused if it cannot."""
    values = tuple(written.template_columns or ())
    batch = SubmitBatch(
        recipients=(Recipient(0, 0, written.text, values),),
        encoding=measure_text(written.text).encoding,
        kind=kind,
        route=route,
        flash=content.flash,
        schedule_at=content.schedule_at,
    )
    if content.contact_lists:
        provider.contact_list_request(batch, content.contact_lists)
    else:
        any(provider.submit_requests(batch))


def render_template(stored_text: str, stored_columns: str | None) -> TextTemplate:
    """The template of a stored campaign; its fields have the order of the stored values."""
    if stored_columns is None:
        return TextTemplate.parse(stored_text)
    names = decode_texts(stored_columns)
    return TextTemplate(("",) * (len(names) + 1), tuple(Placeholder(name, None) for name in names))


def _resolve_text(content: Content, given: str, provider: Provider) -> ResolvedContent:
    text = normalize(given) if content.normalize else given
    if not text.strip():
        raise TextRefused("the text is empty", "give --text or --text-file")
    if "\0" in text:
        raise TextRefused("the text has a NUL character", "check that it comes from a text file")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise TextRefused("the text has bytes that are not valid characters", "save it as UTF-8")
    template = TextTemplate.parse(text)
    size = measure_text(text)
    if (
        not template.field_names
        and provider.max_parts is not None
        and size.parts > provider.max_parts
    ):
        raise TextRefused(
            f"the text has {size.parts} parts in {size.encoding.label}; "
            f"the account allows {provider.max_parts}",
            "shorten it"
            if size.encoding is Encoding.GSM7
            else "shorten it; --normalize replaces typographic characters that make it longer",
        )
    return ResolvedContent(text=text, template=template)


def _fill_placeholders(template_text: str, columns: Sequence[str]) -> str:
    """The registered text with a placeholder for each of its variables."""
    parts = template_text.split(_VARIABLE)
    if len(parts) - 1 != len(columns):
        raise TextRefused(
            f"the template has {len(parts) - 1} variables; --template-vars names {len(columns)}",
            "name a column for each, in the template's order",
        )
    placeholders = [*(f"{{{{{name}}}}}" for name in columns), ""]
    return "".join(piece for pair in zip(parts, placeholders, strict=True) for piece in pair)
