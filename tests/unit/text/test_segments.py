"""Encoding, length and parts of texts: against the tables of the standard, a provider's credits,
and a slow reference that fills part after part."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.status import Encoding
from dispatcher.text.segments import (
    GSM_BASIC,
    GSM_EXTENSION,
    Measure,
    count_ucs2_parts,
    measure_text,
    non_gsm_characters,
    normalize,
    replaceable_characters,
)

EMOJI = "\N{PARTY POPPER}"  # outside the basic plane: two UTF-16 units


def reference(text):
    """Fill part after part, character by character."""
    gsm = all(char in GSM_BASIC + GSM_EXTENSION for char in text)
    if gsm:
        sizes = [2 if char in GSM_EXTENSION else 1 for char in text]
    else:
        sizes = [len(char.encode("utf-16-le")) // 2 for char in text]
    alone, each = (160, 153) if gsm else (70, 67)
    parts, filled = 1, 0
    if sum(sizes) > alone:
        for size in sizes:
            if filled + size > each:
                parts, filled = parts + 1, 0
            filled += size
    return Measure(Encoding.GSM7 if gsm else Encoding.UCS2, sum(sizes), parts)


@pytest.mark.parametrize(
    ("length", "parts"),
    [
        (0, 1), (1, 1), (160, 1), (161, 2), (306, 2), (307, 3), (459, 3),
        (460, 4), (612, 4), (613, 5), (765, 5), (766, 6),
    ],
)  # fmt: skip
def test_parts_are_the_credits_of_thesmspoint(length, parts):
    assert measure_text("a" * length) == Measure(Encoding.GSM7, length, parts)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "parts"),
    [
        ("€" * 80, Encoding.GSM7, 160, 1),
        ("€" * 81, Encoding.GSM7, 162, 2),
        # 152 septets, then a pair that would end on the 154th: it moves, and the end with it.
        ("a" * 152 + "€" + "a" * 152, Encoding.GSM7, 306, 3),
        ("a" * 151 + "€" + "a" * 153, Encoding.GSM7, 306, 2),
        ("я" * 70, Encoding.UCS2, 70, 1),
        ("я" * 71, Encoding.UCS2, 71, 2),
        ("я" * 134, Encoding.UCS2, 134, 2),
        ("я" * 135, Encoding.UCS2, 135, 3),
        (EMOJI * 35, Encoding.UCS2, 70, 1),
        (EMOJI * 36, Encoding.UCS2, 72, 2),
        (EMOJI * 66, Encoding.UCS2, 132, 2),
        (EMOJI * 67, Encoding.UCS2, 134, 3),
        ("я" * 66 + EMOJI + "я" * 66, Encoding.UCS2, 134, 3),
        ("я" * 65 + EMOJI + "я" * 67, Encoding.UCS2, 134, 2),
        ("ça", Encoding.UCS2, 2, 1),
        ("Ça", Encoding.GSM7, 2, 1),
        ("a\tb", Encoding.UCS2, 3, 1),
        ("a\x1bb", Encoding.UCS2, 3, 1),
    ],
)
def test_a_text_is_measured(text, encoding, units, parts):
    assert measure_text(text) == Measure(encoding, units, parts)


def test_the_tables_are_those_of_the_standard():
    assert len(GSM_BASIC) == len(set(GSM_BASIC)) == 127, "128 codes, one of them the escape"
    assert len(GSM_EXTENSION) == len(set(GSM_EXTENSION)) == 10
    assert not set(GSM_BASIC) & set(GSM_EXTENSION)
    after_escape = "\x1b"  # takes code 0x1B, so that index is code
    codes = GSM_BASIC[:0x1B] + after_escape + GSM_BASIC[0x1B:]
    places = {"@": 0, "\n": 10, "\r": 13, "Δ": 16, "Æ": 28, " ": 32, "¤": 36, "¡": 64, "¿": 96}
    assert {char: codes.index(char) for char in places} == places
    assert all(codes.index(char) == ord(char) for char in "!\"#%&'()*+,-./09:;<=>?AZaz")


texts = st.text(
    st.sampled_from("aé€[]~\n ") | st.sampled_from("aя" + EMOJI) | st.characters(codec="utf-8"),
    max_size=700,
)


@given(texts)
def test_any_text_is_measured_as_the_reference_measures_it(text):
    assert measure_text(text) == reference(text)


@given(st.text("a€", min_size=150, max_size=1000))
def test_escape_pairs_are_never_split(text):
    assert measure_text(text) == reference(text)


@given(st.text("я" + EMOJI, min_size=60, max_size=500))
def test_surrogate_pairs_are_never_split(text):
    assert measure_text(text) == reference(text)


@given(texts)
def test_a_text_is_ucs2_exactly_when_it_has_characters_outside_gsm(text):
    assert (measure_text(text).encoding is Encoding.UCS2) == bool(non_gsm_characters(text))


def test_characters_outside_gsm_are_listed_once_in_order():
    assert non_gsm_characters("’a’ … я ’") == ["’", "…", "я"]
    assert non_gsm_characters("plain €") == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("It’s ‘fine’", "It's 'fine'"),
        ("“Hello” „Welt“ «bonjour»", '"Hello" "Welt" "bonjour"'),
        ("9–18 — daily − never‑mind", "9-18 - daily - never-mind"),
        ("wait…", "wait..."),
        ("a\xa0b\u2009c\u202fd\u3000e\tf", "a b c d e f"),
        ("a\u200bb\ufeffc\xadd\u2060e\u200ef", "abcdef"),
        ("one\u2028two", "one\ntwo"),
        ("Cafe\u0301", "Café"),
        ("co\u200dop", "coop"),
        ("€ und ß bleiben", "€ und ß bleiben"),
        # Joiners are spelling in Bengali and Persian, and hold emoji together.
        ("র\u200d্যাব’", "র\u200d্যাব'"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("❤\ufe0f’s", "❤\ufe0f's"),
    ],
)
def test_typography_becomes_gsm(text, plain):
    assert normalize(text) == plain


@given(texts)
def test_normalizing_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(GSM_BASIC + GSM_EXTENSION))
def test_gsm_texts_are_left_as_they_are(text):
    assert normalize(text) == text == unicodedata.normalize("NFC", text)


@given(st.lists(st.text("a€ëनम’\u0301\u200d\U0001f389", max_size=150), max_size=5))
def test_parts_that_are_counted_together_are_those_of_each_text(texts):
    for text, parts in zip(texts, count_ucs2_parts(texts), strict=True):
        if parts is not None:
            measure = measure_text(text)
            assert (measure.encoding, measure.parts) == (Encoding.UCS2, parts)
            assert replaceable_characters(text) == []


def test_parts_are_counted_together_beside_texts_that_are_measured_alone():
    texts = ["न" * 70, "न" * 71, EMOJI, "[€]", "It’s", "न" + EMOJI, "ë" * 135]
    assert count_ucs2_parts(texts) == [1, 2, None, None, None, None, 3]
