"""Whether a reply asks not to be texted any more, by the words of many languages."""

import unicodedata
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

#: By language. The English words are those that the CTIA's "Short Code Monitoring Handbook" and the
#: FCC (47 CFR 64.1200(a)(10)) name; the others are what people there are asked to write.
STOP_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ar": ("إيقاف", "ايقاف", "توقف", "إلغاء", "الغاء"),
        "cs": ("odhlasit", "zrusit"),
        "da": ("afmeld",),
        "de": ("stopp", "abmelden", "austragen", "abbestellen"),
        "el": ("διακοπη", "στοπ"),
        "en": (
            "stop", "stopall", "stop all", "unsubscribe", "unsub", "cancel", "end", "quit",
            "opt out", "optout", "revoke", "remove me",
        ),
        "es": ("baja", "alto", "parar", "cancelar", "darme de baja"),
        "fi": ("lopeta", "peruuta"),
        "fr": ("arret", "arreter", "desabonner", "desinscrire"),
        "hi": ("बंद", "रोकें", "बंद करें", "band"),
        "hu": ("leiratkozom", "leiratkozas"),
        "id": ("berhenti",),
        "it": ("basta", "annulla", "cancellami", "disiscrivi"),
        "nl": ("afmelden", "uitschrijven"),
        "no": ("avmeld",),
        "pl": ("rezygnuje", "wypisz", "koniec"),
        "pt": ("pare", "sair", "descadastrar"),
        "ro": ("dezabonare", "renunt"),
        "ru": ("стоп", "отписаться", "отписка", "отмена"),
        "sv": ("avsluta", "avregistrera"),
        "sw": ("acha", "simama"),
        "tr": ("dur", "ret", "iptal"),
        "uk": ("відписатися", "відписка"),
        "ur": ("بند",),
        "vi": ("huy", "ngung"),
        "zh": ("停止", "退订", "退訂", "td", "t"),
    }
)  # fmt: skip
#: "STOP please", "Stop texting me": a short reply that begins with such a word. Longer ones may be
#: about something else, and a person reads them.
_MOST_WORDS: Final = 3
#: Words that begin other sentences as well: only alone they mean stop.
_ONLY_ALONE: Final = frozenset({"end", "alto", "t", "td", "ret", "dur", "acha", "pare", "parar"})
#: Of a long text only the beginning is looked at.
_MOST_CHARS: Final = 200


class StopWords:
    """The words of one account. `StopWords().match("Stop!")` is true."""

    def __init__(self, words: Iterable[str] | None = None) -> None:
        """`words`: instead of those of all languages."""
        given = words if words is not None else (w for each in STOP_WORDS.values() for w in each)
        self._words = frozenset(filter(None, map(_fold_text, given)))

    def match_text(self, text: str) -> bool:
        """Whether a reply is such a word, or a short sentence that begins with one."""
        folded = _fold_text(text[:_MOST_CHARS])
        if folded in self._words:
            return True
        first, *others = folded.split()[: _MOST_WORDS + 1] or [""]
        return 0 < len(others) < _MOST_WORDS and first in self._words - _ONLY_ALONE


def _fold_text(text: str) -> str:
    """In lower case, without accents, quotes and punctuation, with single spaces."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = (
        char if unicodedata.category(char)[0] in "LN" else " "
        for char in plain
        # Marks and invisible characters; letters that only have accents lose them.
        if unicodedata.category(char) not in {"Mn", "Mc", "Cf", "Me"}
    )  # fmt: skip
    return " ".join("".join(kept).split())
