"""Whether a text fits the template that is registered for it."""

import pytest

from dispatcher.text.registered import find_misfit

DEAR = "Dear {#var#}, your order {#var#} is ready."


@pytest.mark.parametrize(
    ("registered", "text"),
    [
        (DEAR, "Dear {{name|customer}}, your order {{order}} is ready."),
        (DEAR, "Dear Asha,\nyour order\t7 is  ready. "),
        ("{#var#}", "anything"),
        ("{#numeric#} is your code", "482913 is your code"),
        ("Tea &amp; cake at {#var#}", "Tea & cake at {{place}}"),
        ("No variable", "No variable"),
        ("{#var#} and {#var#} and {#var#}", "a and b and c and d"),
    ],
)
def test_a_text_that_fits(registered, text):
    assert find_misfit(registered, text) is None


@pytest.mark.parametrize(
    ("registered", "text", "place"),
    [
        (DEAR, "Hello {{name}}", ("", "Dear ", "Hello {{name}}")),
        (DEAR, "Dear {{name}}, your parcel is ready.",
         ("Dear {{name}}, your ", "order ", "parcel is ready.")),
        (DEAR, "Dear {{name}}, your order 7 is ready. Bye",
         ("your order 7 is ready.", "", " Bye")),
        (DEAR, "Dear A, your order 7 is", ("ear A, your order 7 is", " ready.", "")),
        ("{#var#} is your code", "482913", ("", "{#var#} is your code", "482913")),
        ("No variable", "No variables", ("No variable", "", "s")),
    ],
)  # fmt: skip
def test_the_place_where_a_text_leaves_its_template(registered, text, place):
    misfit = find_misfit(registered, text)
    assert misfit is not None
    assert misfit.after.endswith(place[0])
    assert misfit[1:] == place[1:]
