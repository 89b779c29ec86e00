# The part of pygal that the report uses.

from collections.abc import Callable, Sequence
from typing import TypedDict
from xml.etree.ElementTree import Element

from pygal.style import Style

class Options(TypedDict, total=False):
    js: list[str]
    css: list[str]
    no_prefix: bool
    disable_xml_declaration: bool
    show_legend: bool
    width: int
    height: int
    margin: int
    margin_right: int
    show_minor_x_labels: bool
    x_labels_major_count: int | None
    show_minor_y_labels: bool
    value_formatter: Callable[[float], str]
    print_values: bool
    min_scale: int
    max_scale: int
    truncate_label: int
    style: Style

class Graph:
    x_labels: Sequence[str]
    def __init__(
        self,
        *,
        fill: bool = ...,
        show_dots: bool = ...,
        include_x_axis: bool = ...,
        js: list[str] = ...,
        css: list[str] = ...,
        no_prefix: bool = ...,
        disable_xml_declaration: bool = ...,
        show_legend: bool = ...,
        width: int = ...,
        height: int = ...,
        margin: int = ...,
        margin_right: int = ...,
        show_minor_x_labels: bool = ...,
        x_labels_major_count: int | None = ...,
        show_minor_y_labels: bool = ...,
        value_formatter: Callable[[float], str] = ...,
        print_values: bool = ...,
        min_scale: int = ...,
        max_scale: int = ...,
        truncate_label: int = ...,
        style: Style = ...,
    ) -> None: ...
    def add(self, title: str, values: Sequence[float | None], *, fill: bool = ...) -> Graph: ...
    def render_tree(self) -> Element: ...

class Line(Graph): ...
class StackedLine(Line): ...
class Bar(Graph): ...
class HorizontalStackedBar(Graph): ...
