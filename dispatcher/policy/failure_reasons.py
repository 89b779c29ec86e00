"""Why recipients did not get their message: reasons in a few words, what they mean, what to do.

A reason is what the provider said. An adapter explains the words of its provider; here are words
that operators and gateways have in common, and what a state means where nothing was said.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from dispatcher.status import MessageState

#: A phone number as errors show it: its middle is masked.
_MASKED: Final = re.compile(r"\d*•+\d*")
#: Words beside a code that repeat the state.
_STATE_WORDS: Final = frozenset({"undelivered", "u", "expired", "failed", "rejected"})
NO_REASON: Final = "no reason given"


class Explanation(NamedTuple):
    """What a reason means, what a person can do, and whether another attempt may help."""

    meaning: str
    advice: str
    may_help: bool


def reason_words(code: str | None, error: str | None) -> str:
    """A reason as it is counted and shown: `42: blocked`. Numbers in it are left out."""
    said = [_MASKED.sub("•••", word).strip() for word in (code, error) if word]
    if len(said) == 2 and _fold_words(said[1]) in _STATE_WORDS:
        said = said[:1]
    elif len(said) == 2 and said[0].casefold() in said[1].casefold():
        said = said[1:]
    return ": ".join(word for word in said if word) or NO_REASON


def matches_reason(wanted: Iterable[str], code: str | None, error: str | None) -> bool:
    """Whether one of `wanted` is this reason, its code or its words; case does not matter."""
    names = {_fold_words(name) for name in (reason_words(code, error), code or "", error or "")} - {
        ""
    }
    return any(_fold_words(word) in names for word in wanted)


def explain_reason(
    state: MessageState,
    code: str | None,
    error: str | None,
    own: Mapping[str, Explanation],
) -> Explanation:
    """What the reason of a final state means; `own` has the words of the provider, in lower case.

    The code counts before the words, and what the provider means by it before what others do.
    """
    for word in filter(None, (code, error)):
        if (found := own.get(_fold_words(word))) is not None:
            return found
        for pattern, explanation in _COMMON:
            if pattern.search(word):
                return explanation
    return _BY_STATE[state]


def _fold_words(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".! ")


def _table(
    rows: Sequence[tuple[str, Explanation]],
) -> tuple[tuple[re.Pattern[str], Explanation], ...]:
    return tuple((re.compile(words, re.IGNORECASE), explanation) for words, explanation in rows)


_COMMON: Final = _table(
    [
        (
            (
                r"invalid (destination |phone |mobile )?(number|recipient)|unknown subscriber|"
                r"not (a valid|in service)|unallocated|does not exist"
            ),
            Explanation(
                "the number cannot receive SMS: it does not exist, or is not in service",
                "correct the number in your list; sending again does not help",
                may_help=False,
            ),
        ),
        (
            r"black ?list|opt.?out|unsubscri|\bdnd\b|\bdnc\b|ncpr|do not disturb|preference",
            Explanation(
                "the number does not want such messages: it is on a list of opt-outs",
                "take it off your list; do not send again",
                may_help=False,
            ),
        ),
        (
            (
                r"absent|switched off|unreachable subscriber|out of (coverage|range)|not reachable|"
                r"no paging|detached"
            ),
            Explanation(
                "the handset was off or had no signal until the provider gave up",
                "send again at another time of day",
                may_help=True,
            ),
        ),
        (
            r"memory|storage|inbox.*full",
            Explanation(
                "the handset has no room for more messages", "send again later", may_help=True
            ),
        ),
        (
            r"template|\bdlt\b|entity|header|sender|scrub",
            Explanation(
                "an operator refused the sender, the template or a text that does not match it",
                "check sender, template and text with `dispatcher account check`, mend them, and "
                "submit a new campaign to these recipients",
                may_help=False,
            ),
        ),
        (
            r"spam|content|blocked|barred|forbidden|filter",
            Explanation(
                "the operator or the provider blocks this text, this sender or this number",
                "ask the provider why; sending the same again is usually blocked again",
                may_help=False,
            ),
        ),
        (
            r"credit|balance",
            Explanation(
                "the account had not enough credit", "top up the account, then retry", may_help=True
            ),
        ),
        (
            (
                r"no connection|cannot be reached|connection|timed? ?out|HTTP 429|\b429\b|throttl|"
                r"too many|congestion|temporar|queue full|system (error|failure)|network"
            ),
            Explanation(
                "the provider or a network could not be reached, or was busy",
                "retry: it was a passing fault",
                may_help=True,
            ),
        ),
        (
            r"\bparts?\b|too long|too large|length",
            Explanation(
                "the text is longer than the account may send",
                "submit a shorter text to these recipients",
                may_help=False,
            ),
        ),
        (
            r"expired|validity",
            Explanation(
                "it could not be delivered before its validity ended: the handset was off",
                "send again at another time of day",
                may_help=True,
            ),
        ),
    ]
)
_BY_STATE: Final[Mapping[MessageState, Explanation]] = {
    MessageState.UNDELIVERED: Explanation(
        "the provider says that it did not arrive, and not why",
        "retry once at another time of day; who fails again has a number that is out of use",
        may_help=True,
    ),
    MessageState.EXPIRED: Explanation(
        "its validity ended before it arrived: the handset was off or had no signal",
        "retry at another time of day",
        may_help=True,
    ),
    MessageState.REJECTED: Explanation(
        "the provider refused this recipient; nothing was sent to it",
        "check the number and ask the provider what its words mean, before you retry",
        may_help=False,
    ),
    MessageState.FAILED: Explanation(
        "the provider did not take it in any of its attempts; nothing was sent",
        "remove the cause that is named, then retry",
        may_help=True,
    ),
}
