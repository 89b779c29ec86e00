"""Characters that show nothing: which, and that removing them changes nothing that is shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.text.invisible import (
    describe_char,
    has_invisible,
    may_have_invisible,
    remove_all_invisible,
    remove_invisible,
)
from dispatcher.text.segments import normalize, replaceable_characters


@given(st.text())
def test_removing_is_complete_and_done_once(text):
    bare = remove_all_invisible(text)
    assert not has_invisible(bare)
    once = remove_invisible(text)
    assert remove_invisible(once) == once
    assert remove_all_invisible(once) == bare


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="⠀")))
def test_what_is_shown_stays(text):
    shown = "".join(char for char in text if not has_invisible(char))
    assert remove_invisible(text) == shown or has_invisible(text)


def test_format_and_control_characters_are_found_but_for_those_that_are_drawn():
    """Arabic and other number signs are of category Cf, and visible."""
    drawn = set(
        "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    )
    missed = {
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in {"Cf", "Cc"} and not has_invisible(chr(code))
    }
    hieroglyphs = {chr(code) for code in range(0x13430, 0x13440)}
    assert missed - hieroglyphs - set("\t\n\r\v\f\x85") <= drawn


def test_the_fast_search_misses_no_invisible_character():
    for code in range(0x110000):
        char = chr(code)
        if has_invisible(char):
            assert may_have_invisible(f"a{char}b".encode()), f"U+{code:04X}"
    for text in ("Asha", "आशा", "Łukasz Zoë", "Иван", "王伟"):
        assert not may_have_invisible(text.encode())


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("’", "’ (U+2019 RIGHT SINGLE QUOTATION MARK)"), ("\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\xa0", "U+00A0 NO-BREAK SPACE"), ("\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
        ("\x07", "U+0007 CONTROL CODE"), ("\u3164", "U+3164 HANGUL FILLER"),
    ],
)  # fmt: skip
def test_a_character_is_named_by_code_point_and_name(char, shown):
    assert describe_char(char) == shown


@pytest.mark.parametrize("char", "\u200b\u2060\xad\ufeff\u200e\ufe0f\u034f\u180b\u115f\u3164\u2800")
def test_normalize_removes_whatever_alone_forces_ucs2_and_shows_nothing(char):
    text = f"Dear{char} Asha"
    assert normalize(text) == "Dear Asha"
    assert replaceable_characters(text) == [char]


def test_characters_that_normalize_cannot_replace_are_no_culprits():
    assert replaceable_characters("Łukasz\u200b’") == []
    assert replaceable_characters("Dear Asha") == []
    assert replaceable_characters("Zoe\u0301\u200b") == ["\u0301", "\u200b"]
