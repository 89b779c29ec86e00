"""Which replies mean stop."""

import pytest

from dispatcher.text.opt_outs import STOP_WORDS, StopWords

ALL = StopWords()


@pytest.mark.parametrize(
    "text",
    ["STOP", "stop", " Stop! ", "«STOP»", "S\u200bTOP", "ＳＴＯＰ", "STOP please", "Stop all",
     "Stop texting me", "unsubscribe", "Opt-out", "ARRÊT", "arret", "Désabonner", "BAJA",
     "Стоп", "إيقاف", "बंद", "退订", "TD", "STOPP", "Abmelden bitte", "İPTAL", "Huỷ"],
)  # fmt: skip
def test_these_replies_mean_stop(text):
    assert ALL.match_text(text)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "...", "Yes", "Don't stop", "Stop by tomorrow at nine, I will be there",
     "End of May is fine", "Non-stop", "Unstoppable", "Thanks", "Is this a scam?", "stopwatch",
     "T shirt size M"],
)  # fmt: skip
def test_these_do_not(text):
    assert not ALL.match_text(text)


def test_every_word_of_the_list_matches_alone_and_in_capitals():
    words = [word for each in STOP_WORDS.values() for word in each]
    assert [w for w in words if not (ALL.match_text(w) and ALL.match_text(w.upper()))] == []


def test_an_accounts_own_words_replace_the_list():
    mine = StopWords(["Slutt", "no more"])
    assert mine.match_text("SLUTT.")
    assert mine.match_text("No  more!")
    assert not mine.match_text("STOP")
    assert not StopWords([]).match_text("STOP")


def test_a_long_text_costs_no_more_than_its_beginning():
    assert not ALL.match_text("stop " * 1_000_000)
