"""What looks like a placeholder: refused if it names a column, said if it does not."""

import pytest

from dispatcher.errors import Refused
from dispatcher.text.lookalikes import lookalikes, refuse_lookalikes
from dispatcher.text.template import TextTemplate

HEADERS = ("phone", "Name", "First Name", "order_no")


@pytest.mark.parametrize(
    "written",
    [
        "{name}", "[name]", "%name%", "((name))", "<name>", "<<name>>", "${name}", "$name",
        "{%name%}", "{% name %}", "*|NAME|*", "#name#", "@@name@@", "__name__",
        "%%name%%",
        "[[name]]", "«name»", "{ name }", "[First Name]", "{first_name}", "{FIRSTNAME}",
        "%order_no%",        "{order no}", "{name}}",
    ],
)  # fmt: skip
def test_a_column_named_in_the_way_of_another_program_is_refused(written):
    with pytest.raises(Refused) as caught:
        refuse_lookalikes(TextTemplate.parse(f"Dear {written}, welcome"), HEADERS)
    assert "everybody would get it as it is" in caught.value.message
    assert caught.value.hint.startswith("write {{")


def test_three_braces_are_refused():
    with pytest.raises(Refused, match="three braces"):
        refuse_lookalikes(TextTemplate.parse("Dear {{{name}}}"), HEADERS)


@pytest.mark.parametrize(
    "text",
    [
        "Dear {{name}}, welcome", "50% off and 20% more", "Reply [STOP]", "a@name.example",
        "[Acme] Hi",
        "{{name}} {{ First Name }}", "Cost: $5", "#sale now", "1 < 2 > 0", "(see below)", "* * *",
        "Write to name@phone.example", "{}", "{1}", "f(x)", "no__name__",
    ],
)  # fmt: skip
def test_ordinary_texts_are_not_refused(text):
    refuse_lookalikes(TextTemplate.parse(text), ("phone", "name", "First Name"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dear {firstname}", ["{firstname}"]), ("Dear %first%", ["%first%"]),
        ("Dear ((x)) <<y>>", ["((x))", "<<y>>"]), ("Dear ${x}", ["${x}"]),
        ("Dear *|X|*", ["*|X|*"]),
        ("Reply [STOP], 5 < 6", []), ("Hi {{name}}", []), ("{1} and {}", []),
    ],
)  # fmt: skip
def test_what_looks_like_one_and_names_no_column_is_said(text, found):
    assert lookalikes(TextTemplate.parse(text)) == found
