"""The pictures of a report: pygal draws the shapes, `report.css` gives them their colours.

pygal's own style, script and ids are left out, so that a page has one style and no script.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from markupsafe import Markup

from dispatcher.reports.page import html, join, plain

if TYPE_CHECKING:
    from pygal import Graph, Options

_WIDTH: Final = 760
_HEIGHT: Final = 300
#: Labels below a picture.
_LABELS: Final = 6
_SHAPES: Final = frozenset({"g", "path", "rect", "line", "circle", "text", "tspan", "title"})

#: A name, its values, and the class that gives it its colour.
Series = tuple[str, Sequence[float | None], str]


def figure(title: str, picture: Markup, legend: Sequence[tuple[str, str]], note: str) -> Markup:
    """A picture with its title, the meaning of its colours (name, class), and a note."""
    keys = join(
        html('<li><span class="key {}"></span>{}</li>', css_class, name)
        for name, css_class in legend
    )
    return html(
        '<figure><div class="scroll" tabindex="0" role="region" aria-label="Picture: {title}">'
        '{picture}</div><figcaption><ul class="legend">{keys}</ul><p class="soft">{note}</p>'
        "</figcaption></figure>",
        title=title,
        picture=picture,
        keys=keys,
        note=note,
    )


def area_chart(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Stacked areas over time."""
    from pygal import StackedLine

    labels, series = _at_least_two(labels, series)
    chart = StackedLine(fill=True, show_dots=False, include_x_axis=True, **_options(labels))
    return _draw(chart, title, labels, series)


def line_chart(
    title: str, labels: Sequence[str], series: Sequence[Series], shades: Sequence[Series]
) -> Markup:
    """Lines over time, in front of filled shades."""
    from pygal import Line

    shades = _at_least_two(labels, shades)[1]
    labels, series = _at_least_two(labels, series)
    chart = Line(show_dots=False, include_x_axis=True, **_options(labels))
    for name, values, _css in shades:
        chart.add(plain(name), list(values), fill=True)
    return _draw(chart, title, labels, series, first=shades)


def column_chart(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """A column for each label."""
    from pygal import Bar

    options = _options(labels)
    options["show_minor_x_labels"], options["x_labels_major_count"] = True, None
    return _draw(Bar(**options), title, labels, series)


def bar_chart(title: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """A horizontal bar for each label, stacked from the series; the first label is on top."""
    from pygal import HorizontalStackedBar

    options = _options(labels)
    options["height"], options["truncate_label"] = 90 + 34 * len(labels), 28
    options["show_minor_x_labels"], options["x_labels_major_count"] = True, None
    chart = HorizontalStackedBar(**options)
    turned = [(name, list(values)[::-1], css) for name, values, css in series]
    return _draw(chart, title, list(labels)[::-1], turned)


def _at_least_two(
    labels: Sequence[str], series: Sequence[Series]
) -> tuple[Sequence[str], Sequence[Series]]:
    """A single point twice: a line needs two."""
    if len(labels) != 1:
        return labels, series
    return [*labels, *labels], [(name, [*values, *values], css) for name, values, css in series]


def _options(labels: Sequence[str]) -> "Options":
    from pygal.style import Style

    _drop_finders_without_specs()
    return {
        "js": [], "css": [], "no_prefix": True, "disable_xml_declaration": True,
        "show_legend": False, "width": _WIDTH, "height": _HEIGHT, "margin": 12,
        "margin_right": 40,
        "show_minor_x_labels": False, "x_labels_major_count": min(_LABELS, max(len(labels), 1)),
        "show_minor_y_labels": True, "value_formatter": format_number, "print_values": False,
        "min_scale": 3, "max_scale": 6, "truncate_label": 40,
        "style": Style(label_font_size=13, major_label_font_size=13),
    }  # fmt: skip


def _drop_finders_without_specs() -> None:
    """pygal's finder of map plugins has no `find_spec`: every later failing import would warn."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


def format_number(value: float) -> str:
    """`1,200`, `0.5`; small numbers keep two decimals."""
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _draw(
    chart: "Graph",
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    first: Sequence[Series] = (),
) -> Markup:
    chart.x_labels = [plain(label) for label in labels]
    for name, values, _css in series:
        chart.add(plain(name), list(values))
    root = chart.render_tree()
    colours = {f"color-{i}": css for i, (_n, _v, css) in enumerate([*first, *series])}
    _clean(root, colours)
    root.set("class", f"chart {root.get('class', '')}")
    root.set("role", "img")
    root.set("aria-label", plain(title))
    # ElementTree has escaped every text.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704


def _clean(root: ET.Element, colours: Mapping[str, str]) -> None:
    """Remove what pygal has for its own style and script, and name the colours of the series."""
    for parent in list(root.iter()):
        for child in list(parent):
            tag = str(child.tag)  # a comment's is a function
            is_ours = tag in _SHAPES and "overlay" not in child.get("class", "")
            if not is_ours or (tag == "title" and parent is root):
                parent.remove(child)
    for element in root.iter():
        element.attrib.pop("id", None)
        element.attrib.pop("style", None)
        names = element.get("class", "").split()
        if names:
            element.set("class", " ".join(colours.get(name, name) for name in names))
        else:
            element.attrib.pop("class", None)
