"""Texts with placeholders `{{name}}` and `{{name|there}}`; no expressions, no code.

A template is bound to a file's headers, then rendered from a row's cells.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Self

from dispatcher.errors import Refused, TextRefused
from dispatcher.text.invisible import remove_all_invisible

_PLACEHOLDER: Final = re.compile(r"\{\{([^{}|]*)(?:\|([^{}]*))?\}\}")
_PLACE_SHOWN: Final = 24


class RenderError(ValueError):
    """Why a row's text cannot be made: a sentence for a person, without the row's values."""


def fold_name(name: str) -> str:
    """The form in which column names are compared: without case and extra spaces."""
    shown = remove_all_invisible(unicodedata.normalize("NFC", name))
    return " ".join(shown.casefold().split())


def list_names(headers: Sequence[str]) -> str:
    """Names of columns in a row, in quotes where they have a comma themselves."""
    named = (f"'{header}'" if "," in header else header for header in headers if header)
    return ", ".join(named) or "(all without a name)"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A placeholder as written; `default` is None if the text gives none."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A parsed text: its placeholders, and the `literals` before, between and after them."""

    literals: tuple[str, ...]
    placeholders: tuple[Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Find the placeholders. Raises Refused, with the place, for a malformed `{{`.

        A single brace, or a `}}` without an opening one, is plain text.
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
        """The distinct names (ignoring case), each as first written."""
        distinct: dict[str, str] = {}
        for slot in self.placeholders:
            distinct.setdefault(fold_name(slot.name), slot.name)
        return tuple(distinct.values())

    def bind_columns(self, headers: Sequence[str]) -> "BoundTemplate":
        """Find the column of each placeholder, ignoring case and outer spaces.

        Raises Refused for a name that no column has, even with a default, or that two columns have.
        """
        return BoundTemplate(
            self, headers, [_find_column(name, headers) for name in self.field_names]
        )


class BoundTemplate:
    """A template with the columns of its placeholders: indexes, in the order of `field_names`."""

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
        defaults = [default for _, default in self._slots if default is not None]
        #: All of its own characters: those of every text, and of defaults.
        self.own_text: Final = "".join([*template.literals, *defaults])
        #: Places among `columns` of those that must not be empty.
        self.required: Final = {place for place, default in self._slots if default is None}
        self._fill_slots: Callable[[tuple[str, ...]], str] = _percent_string(
            template.literals
        ).__mod__
        self._fill: Callable[..., str] = _format_string(
            template.literals, [place for place, _ in self._slots]
        ).format

    def used_values(self, cells: Sequence[str]) -> list[str]:
        """The stripped values of the template's columns; missing cells at the end are empty."""
        try:
            return [cells[column].strip() for column in self.columns]
        except IndexError:
            width = len(cells)
            return [cells[column].strip() if column < width else "" for column in self.columns]

    def render_values(self, values: Sequence[str]) -> str:
        """The text for stripped `values`, in the order of `columns`. Raises RenderError."""
        if all(values):
            return self._fill(*values)
        return self._render_with_defaults(values)

    def render_columns(self, columns: Sequence[Sequence[str]], count: int) -> list[str]:
        """The texts of `count` rows; `columns` has their stripped values by column.

        A value of a column that is `required` counts as given, also if it is empty.
        """
        if not self._slots:
            return [self._literals[0]] * count
        filled = [
            [value or default for value in columns[place]] if default else columns[place]
            for place, default in self._slots
        ]
        return [*map(self._fill_slots, zip(*filled, strict=True))]

    def render_all(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """`render_values` of each row."""
        if all(map(all, rows)):
            return self.render_columns([*zip(*rows, strict=True)], len(rows))
        return [self.render_values(values) for values in rows]

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
    return TextRefused(
        f"the text has a malformed placeholder at character {at + 1}: {shown}",
        "write {{name}}, or {{name|there}} with a default",
    )


def _find_column(name: str, headers: Sequence[str]) -> int:
    wanted = fold_name(name)
    folded = [fold_name(header) for header in headers]
    if folded.count(wanted) == 1:
        return folded.index(wanted)
    if wanted in folded:
        raise TextRefused(
            f"the text uses {{{{{name}}}}}, but the file has {folded.count(wanted)} such columns",
            "rename all but one of them",
        )
    nearest = get_close_matches(wanted, folded, n=1)
    suggestion = f"did you mean '{headers[folded.index(nearest[0])]}'? " if nearest else ""
    raise TextRefused(
        f"the text uses {{{{{name}}}}}, but the file has no such column",
        f"{suggestion}the columns are: {list_names(headers)}",
    )


def _percent_string(literals: Sequence[str]) -> str:
    """A text for `%` with a value for each place: faster than `str.format`."""
    return "%s".join([literal.replace("%", "%%") for literal in literals])


def _format_string(literals: Sequence[str], places: Sequence[int]) -> str:
    """A text for `str.format`, which does not interpret the inserted values: `Dear {0}, …`."""
    escaped = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
    fields = [f"{{{place}}}" for place in places]
    return "".join(piece for pair in zip(escaped, [*fields, ""], strict=True) for piece in pair)
