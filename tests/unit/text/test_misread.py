"""Words that another program spoilt: UTF-8 that was read as Windows-1252 and saved again."""

import pytest

from dispatcher.text.misread import find_spoilt_word


@pytest.mark.parametrize(
    "name", ["Zoë", "Łukasz", "Иван", "José", "Müller", "王伟", "Γιώργος", "Rao’s", "नेहा", "Çağrı"]
)
def test_a_word_that_was_read_in_a_wrong_encoding_is_found(name):
    spoilt = "".join(bytes([byte]).decode("cp1252", "replace") for byte in name.encode())
    found = find_spoilt_word(f"Dear {spoilt}, hello")
    if "\ufffd" in spoilt:  # a byte that Windows-1252 does not have was lost
        assert found is None
    else:
        assert found == (f"{spoilt},", f"{name},")


@pytest.mark.parametrize(
    "text", ["Dear Zoë", "Ärger", "São Paulo", "Ângela", "Łukasz", "Иван", "naïve", "CAFÉ", "Ã", ""]
)
def test_words_as_they_are_written_are_not(text):
    assert find_spoilt_word(text) is None
