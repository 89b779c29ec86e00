"""The house rules of CONTRIBUTING.md that a test can count."""

import pytest

from tests import house


def test_no_folder_has_too_many_modules_side_by_side():
    assert house.crowded_folders() == {}


def test_no_module_is_too_long():
    assert house.long_modules() == {}


def test_no_function_is_too_long():
    assert house.long_functions() == {}


def test_functions_say_verb_and_object():
    assert house.one_word_share() < house.MOST_ONE_WORD_NAMES


def test_one_name_is_defined_in_one_place():
    assert house.homonyms() == {}


def test_the_readme_is_short():
    assert house.readme_words() <= house.MOST_README_WORDS


def test_texts_are_plain_english():
    assert house.translated_lines() == []


def test_any_is_counted_in_the_last_line_of_the_report():
    report = "Name  Anys  Exprs  Coverage\n----\nworkers.app  2  336  99.40%\n----\n Total 173 9 1%"
    assert house.count_any(report) == 173
    with pytest.raises(AssertionError, match="not a report"):
        house.count_any("Success: no issues found in 292 source files")
