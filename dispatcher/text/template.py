"""Texts with placeholders: `{{name}}`, `{{name|there}}`. Nothing more: no expressions, no code.

Knows nothing of files: a template is bound to headers and rendered from a row's cells.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Self

from dispatcher.errors import Refused

_PLACEHOLDER: Final = re.compile(r"\{\{([^{}|]*)(?:\|([^{}]*))?\}\}")
_PLACE_SHOWN: Final = 24


class RenderError(ValueError):
    """Why the text cannot be made for a row: a sentence for a person, without the row's values."""


def fold_name(name: str) -> str:
    """What two column names have in common when they are the same to a person."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A placeholder as written; `default` is None where the text gives none."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A parsed text: `literals` stand before, between and after `slots`."""

    literals: tuple[str, ...]
    placeholders: tuple[Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Find the placeholders; raises Refused, showing the place, for a `{{` that begins none.

        A single brace, and a `}}` that closes nothing, are plain text.
        """
        literals: list[str] = []
        slots: list[Placeholder] = []
        end = 0
        for match in _PLACEHOLDER.finditer(text):
            literals.append(_literal_between(text, end, match.start()))
            if not (name := match[1].strip()):
                raise _malformed_error(text, match.start())
            slots.append(Placeholder(name, match[2]))
            end = match.end()
        literals.append(_literal_between(text, end, len(text)))
        return cls(tuple(literals), tuple(slots))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The distinct names (ignoring case), as first written."""
        distinct: dict[str, str] = {}
        for slot in self.placeholders:
            distinct.setdefault(fold_name(slot.name), slot.name)
        return tuple(distinct.values())

    def bind_columns(self, headers: Sequence[str]) -> "BoundTemplate":
        """Find each field's column, ignoring case and outer spaces.

        Raises Refused for a field without a column, even where it has a default, and for one whose
        name two columns have.
        """
        return BoundTemplate(
            self, headers, [_find_column(name, headers) for name in self.field_names]
        )


class BoundTemplate:
    """A template whose fields have columns: `columns` are their indexes, in `fields`' order."""

    def __init__(
        self, template: TextTemplate, headers: Sequence[str], columns: Sequence[int]
    ) -> None:
        self.columns: Final = tuple(columns)
        self._headers = [headers[column] for column in columns]
        places = {fold_name(name): place for place, name in enumerate(template.field_names)}
        self._slots = [
            (places[fold_name(slot.name)], slot.default) for slot in template.placeholders
        ]
        self._literals = template.literals
        self._fill: Callable[..., str] = _format_string(
            template.literals, [place for place, _ in self._slots]
        ).format

    def used_values(self, cells: Sequence[str]) -> list[str]:
        """The used columns' values of a whole row, stripped; a short row has empty cells."""
        try:
            return [cells[column].strip() for column in self.columns]
        except IndexError:
            width = len(cells)
            return [cells[column].strip() if column < width else "" for column in self.columns]

    def render_row(self, cells: Sequence[str]) -> str:
        """The text for a whole row. Values are inserted as they are, without outer whitespace.

        Raises RenderError for an empty cell without a default.
        """
        return self.render_values(self.used_values(cells))

    def render_values(self, values: Sequence[str]) -> str:
        """The text for a row's stripped `values`, in the order of `columns`. Raises RenderError."""
        if all(values):
            return self._fill(*values)
        return self._render_with_defaults(values)

    def _render_with_defaults(self, values: Sequence[str]) -> str:
        pieces = [self._literals[0]]
        for (place, default), literal in zip(self._slots, self._literals[1:], strict=True):
            value = values[place] or default
            if value is None:
                raise RenderError(
                    f"column '{self._headers[place]}' is empty and the text has no default for it"
                )
            pieces += value, literal
        return "".join(pieces)


def _literal_between(text: str, start: int, end: int) -> str:
    stray = text.find("{{", start, end)
    if stray >= 0:
        raise _malformed_error(text, stray)
    return text[start:end]


def _malformed_error(text: str, at: int) -> Refused:
    shown = text[at : at + _PLACE_SHOWN] + ("…" if len(text) > at + _PLACE_SHOWN else "")
    return Refused(
        f"the text has a malformed placeholder at character {at + 1}: {shown}",
        "write {{name}}, or {{name|there}} with a default",
    )


def _find_column(name: str, headers: Sequence[str]) -> int:
    wanted = fold_name(name)
    folded = [fold_name(header) for header in headers]
    if folded.count(wanted) == 1:
        return folded.index(wanted)
    if wanted in folded:
        raise Refused(
            f"the text uses {{{{{name}}}}}, and the file has {folded.count(wanted)} such columns",
            "rename all but one of them",
        )
    nearest = get_close_matches(wanted, folded, n=1)
    suggestion = f"did you mean '{headers[folded.index(nearest[0])]}'? " if nearest else ""
    columns = ", ".join(header for header in headers if header)
    raise Refused(
        f"the text uses {{{{{name}}}}}, and the file has no such column",
        f"{suggestion}the columns are: {columns}",
    )


def _format_string(literals: Sequence[str], places: Sequence[int]) -> str:
    """For `str.format`, which inserts values without looking into them: `Dear {0}, …`."""
    escaped = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
    fields = [f"{{{place}}}" for place in places]
    return "".join(piece for pair in zip(escaped, [*fields, ""], strict=True) for piece in pair)
