"""A self-contained HTML page: its style, its head, and tables; every value is escaped.

Nothing is fetched and no script runs: its content security policy forbids both.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final

from markupsafe import Markup, escape

#: Characters that change the direction of what follows (Unicode TR 9), or that show nothing.
_KEPT: Final = frozenset("\n\u200c\u200d")

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def plain(value: object) -> str:
    """`value` without control characters and without such as turn the direction of a text."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char in _KEPT or unicodedata.category(char)[0] != "C"
        else (" " if char.isspace() else "")
        for char in text
    )


def html(pattern: str, *values: object, **named: object) -> Markup:
    """`pattern` with its `{}` filled. Values are made `plain` and escaped, except Markup."""
    return Markup(pattern).format(  # noqa: S704 - the pattern is ours, the values are escaped
        *map(_safe, values), **{name: _safe(value) for name, value in named.items()}
    )


def join(pieces: Iterable[Markup]) -> Markup:
    """The pieces one after the other."""
    return Markup("").join(pieces)


def page(title: str, body: Markup, *, style: str = "") -> str:
    """A whole document with this title and body."""
    return str(
        html(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="referrer" content="no-referrer">'
            '<meta name="robots" content="noindex"><title>{title}</title>'
            "<style>{style}</style></head>"
            "<body><main>{body}</main></body></html>\n",
            policy=_POLICY,
            title=title,
            style=Markup(read_style("page.css") + style),  # noqa: S704 - our own
            body=body,
        )
    )


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Sequence[int],
    wide: Sequence[int] = (),
) -> Markup:
    """A table; the first cell of each row names it.

    `numeric` are the columns with numbers, `wide` those with sentences.
    """
    head = join(
        html('<th scope="col" class="{}">{}</th>', "n" if i in numeric else "", name)
        for i, name in enumerate(columns)
    )
    lines = []
    for row in rows:
        first, *rest = row
        cells = [html('<th scope="row">{}</th>', first)]
        cells += [
            html('<td class="{}">{}</td>', "n" if i in numeric else "w" if i in wide else "", cell)
            for i, cell in enumerate(rest, start=1)
        ]
        lines.append(html("<tr>{}</tr>", join(cells)))
    return html(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>'
        "<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        caption=caption,
        head=head,
        body=join(lines),
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names with their values, side by side; those without a value are left out."""
    return html(
        "<dl>{}</dl>",
        join(
            html("<div><dt>{}</dt><dd>{}</dd></div>", name, value)
            for name, value in pairs
            if value not in {None, ""}
        ),
    )


def read_style(name: str) -> str:
    """A style sheet of this package."""
    return resources.files(__package__ or "").joinpath(name).read_text("utf-8")


def _safe(value: object) -> Markup:
    return value if isinstance(value, Markup) else escape(plain(value))
