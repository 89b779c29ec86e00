"""Placeholders: how they are found, bound to columns, and filled from rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import Refused
from dispatcher.text.template import RenderError, TextTemplate

HEADERS = ["Phone", "Name", "City"]


def render(text, cells, headers=HEADERS):
    template = TextTemplate.parse(text).bind_columns(headers)
    return template.render_values(template.used_values(cells))


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("Hello", "Hello"),
        ("", ""),
        ("Dear {{name}}, see you in {{City}}.", "Dear Asha, see you in Pune."),
        ("{{ NAME }}", "Asha"),
        ("{{name}}{{name}} {{NAME|x}}", "AshaAsha Asha"),
        ("{{name|friend}}", "Asha"),
        ("100% {0} %s {name} {", "100% {0} %s {name} {"),
        ("a }} b {{name}} }}", "a }} b Asha }}"),
        ("{{{name}}}", "{Asha}"),
        ("{{name\n}}", "Asha"),
    ],
)
def test_a_text_is_rendered(text, rendered):
    assert render(text, ["9820011223", "Asha", "Pune"]) == rendered


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("Dear {{name|customer}}!", "Dear customer!"),
        ("Dear {{name|}}!", "Dear !"),
        ("{{name|a|b}}", "a|b"),
        ("{{name|one}} {{name|two}} {{city}}", "one two Pune"),
        ("{{name| dear }}", " dear "),
    ],
)
@pytest.mark.parametrize("empty", ["", "  ", "\u00a0\n"])
def test_an_empty_cell_takes_the_default_of_its_place(text, rendered, empty):
    assert render(text, ["9820011223", empty, "Pune"]) == rendered


def test_an_empty_cell_without_a_default_is_an_error_of_the_row():
    with pytest.raises(
        RenderError, match=r"^column 'Name' is empty and the text has no default for it$"
    ):
        render("{{city}} {{name|x}} {{name}}", ["9820011223", " ", "Pune"])


def test_a_short_row_has_empty_cells():
    assert render("{{name}} in {{city|town}}", ["9820011223", "Asha"]) == "Asha in town"
    assert render("{{name|you}} in {{city|town}}", []) == "you in town"


def test_values_lose_outer_whitespace_only():
    assert render("<{{name}}>", ["", "  Asha \n Rao\t", ""]) == "<Asha \n Rao>"


@pytest.mark.parametrize("value", ["{{city}}", "{0}", "{0.__class__}", "%s", "=1+1", "\\1"])
def test_values_are_never_expanded(value):
    assert render("<{{name}}>", ["", value, "Pune"]) == f"<{value}>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Dear {{name", "character 6: {{name"),
        ("Dear {{}}", "character 6: {{}}"),
        ("{{ }}", "character 1: {{ }}"),
        ("{{|there}}", "character 1: {{|there}}"),
        ("{{name}} {{ {{city}}", "character 10: {{ {{city}}"),
        ("{{name}", "character 1: {{name}"),
        ("{{na{me}}", "character 1: {{na{me}}"),
        ("{{" + "x" * 100, "character 1: {{" + "x" * 22 + "…"),
    ],
)
def test_a_malformed_placeholder_is_refused_with_its_place(text, shown):
    with pytest.raises(Refused) as caught:
        TextTemplate.parse(text)
    assert caught.value.message == f"the text has a malformed placeholder at {shown}"
    assert caught.value.hint == "write {{name}}, or {{name|there}} with a default"


def test_fields_are_the_distinct_names_as_first_written():
    template = TextTemplate.parse("{{City}} {{ name |x}} {{city}} {{Order No}}")
    assert template.field_names == ("City", "name", "Order No")


def test_columns_are_in_the_order_of_the_fields_and_are_all_that_is_kept():
    bound = TextTemplate.parse("{{City}} {{name}} {{city|x}}").bind_columns(HEADERS)
    assert bound.columns == (2, 1)
    assert bound.used_values(["9820011223", " Asha "]) == ["", "Asha"]
    assert bound.render_values(["Pune", "Asha"]) == "Pune Asha Pune"


@pytest.mark.parametrize("text", ["{{nmae}}", "{{nmae|there}}"])
def test_a_placeholder_without_a_column_is_refused_even_with_a_default(text):
    with pytest.raises(Refused) as caught:
        TextTemplate.parse(text).bind_columns(HEADERS)
    assert caught.value.message == "the text uses {{nmae}}, but the file has no such column"
    assert caught.value.hint == "did you mean 'Name'? the columns are: Phone, Name, City"


def test_a_placeholder_like_no_column_lists_the_columns():
    with pytest.raises(Refused) as caught:
        TextTemplate.parse("{{zzz}}").bind_columns(HEADERS)
    assert caught.value.hint == "the columns are: Phone, Name, City"


def test_two_columns_of_one_name_are_refused_only_where_used():
    headers = ["Phone", "Name", "name ", "City"]
    assert render("{{city}}", ["1", "a", "b", "Pune"], headers) == "Pune"
    with pytest.raises(Refused, match="has 2 such columns"):
        TextTemplate.parse("{{name}}").bind_columns(headers)


def test_headers_match_however_their_accents_are_composed():
    assert render("{{pre\u0301nom}}", ["Zoë"], ["Pr\u00c9nom"]) == "Zoë"


pieces = st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=20)


@given(st.lists(pieces, min_size=1, max_size=5), st.text("a{}|%0 \n", max_size=10))
def test_rendering_is_joining(literals, value):
    text = "{{name|-}}".join(literals)
    assert render(text, ["", value, ""]) == (value.strip() or "-").join(literals)
