"""Finds whom an entry of an answer is about: by number and id, never by position."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from dispatcher.status import MessageState
from dispatcher.types import DeliveryReport, PollTarget, RecipientResult

_PUNCTUATION = str.maketrans("", "", " +-().")
#: E.164: digits of a number, country calling code included.
_MAX_MSISDN = 15
#: E.164: a country calling code has one to three digits.
_CALLING_CODE_LENGTHS = (1, 2, 3)


class AskedNumbers:
    """The numbers of one request, found again in the forms in which an answer may have them.

    >>> asked = AskedNumbers([919810012345, 919810067890])
    >>> [asked.find_msisdn(shown) for shown in ("+91 98100-12345", 9810067890, "9899999999")]
    [919810012345, 919810067890, None]
    """

    def __init__(self, msisdns: Iterable[int]) -> None:
        self._asked = frozenset(msisdns)

    def find_msisdn(self, value: object, *, entries: int = 0) -> int | None:
        """The number that `value` means: it in full, else the only one ending in it.

        A missing country code is the only thing that may be missing. What cannot be read as a
        number (masked, left out) is the only one asked about where it stands in the only one of
        `entries`. None: not asked about, or it may be several.
        """
        found = self.find_candidates(value)
        if found is None and entries == 1:
            found = self._asked
        return next(iter(found)) if found and len(found) == 1 else None

    def find_candidates(self, value: object) -> frozenset[int] | None:
        """All numbers that `value` may mean; None where it cannot be read as a number."""
        number = _read_digits(value)
        if number is None:
            return None
        if int(number) in self._asked:
            return frozenset({int(number)})
        return frozenset(self._by_suffix.get(number, ()))

    @cached_property
    def _by_suffix(self) -> dict[str, set[int]]:
        suffixes: dict[str, set[int]] = {}
        for msisdn in self._asked:
            for length in _CALLING_CODE_LENGTHS:
                suffix = str(msisdn)[length:].lstrip("0")
                if suffix:
                    suffixes.setdefault(suffix, set()).add(msisdn)
        return suffixes


class AskedTargets:
    """The messages of one status request, found again by number, by id, or by both."""

    def __init__(self, targets: Sequence[PollTarget]) -> None:
        self._by_msisdn = {target.msisdn: target for target in targets}
        self._numbers = AskedNumbers(self._by_msisdn)
        ids = Counter(target.provider_message_id for target in targets)
        self._by_id = {
            target.provider_message_id: target
            for target in targets
            if target.provider_message_id is not None and ids[target.provider_message_id] == 1
        }

    def find_target(
        self, number: object, message_id: str | None, *, entries: int = 0
    ) -> PollTarget | None:
        """The target that both agree on; None where they contradict each other, or say nothing.

        A number that cannot be read (masked, missing) leaves it to the id; without one, to there
        being one target and one of `entries`.
        """
        by_id = self._by_id.get(message_id) if message_id else None
        candidates = self._numbers.find_candidates(number)
        if by_id is not None:
            agrees = candidates is None or by_id.msisdn in candidates
            return by_id if agrees else None
        msisdn = self._numbers.find_msisdn(number, entries=0 if message_id else entries)
        return None if msisdn is None else self._by_msisdn[msisdn]


def read_msisdn(value: object) -> int | None:
    """The number that stands in a list of everybody's, as it is written; None where it is none."""
    number = _read_digits(value)
    return int(number) if number is not None and len(number) <= _MAX_MSISDN else None


def is_sender_name(value: object) -> bool:
    """Whether it is the name of a sender, and no number, nor one that was made unreadable.

    >>> is_name("YourName"), is_name("+91 98100-12345"), is_name("8801XXXX678")
    (True, False, False)
    """
    return isinstance(value, str) and any(char.isalpha() and char not in "xX" for char in value)


def drop_shared_ids(results: Iterable[RecipientResult]) -> tuple[RecipientResult, ...]:
    """`results`, where an id given to several recipients is none: it would find the wrong one."""
    results = tuple(results)
    uses = Counter(result.provider_message_id for result in results)
    return tuple(
        result
        if uses[result.provider_message_id] == 1
        else replace(result, provider_message_id=None)
        for result in results
    )


def keep_most_final(reports: Iterable[DeliveryReport]) -> list[DeliveryReport]:
    """Of several reports on one message the most final one, else the first."""
    best: dict[int, DeliveryReport] = {}
    for report in reports:
        known = best.get(report.msisdn)
        if known is None or _rank_finality(report) > _rank_finality(known):
            best[report.msisdn] = report
    return list(best.values())


def _rank_finality(report: DeliveryReport) -> int:
    if report.state is MessageState.SUBMITTED:
        return 0
    return 1 if report.provisional else 2


def _read_digits(value: object) -> str | None:
    """`value`'s digits without leading zeros (trunk and international prefixes), or None."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).translate(_PUNCTUATION).lstrip("0")
    return text if text.isascii() and text.isdigit() and len(text) <= 20 else None
