"""Finds which recipient an entry of an answer is about: by number and id, never by position."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from operator import itemgetter
from typing import Any, cast

from dispatcher.providers.shared.fields import read_entries, read_id, read_ids
from dispatcher.status import MessageState
from dispatcher.tuples import make_tuples
from dispatcher.types import DeliveryReport, PollTarget, RecipientResult

_PUNCTUATION = str.maketrans("", "", " +-().")
#: E.164: digits of a number, country calling code included.
_MAX_MSISDN = 15
#: E.164: a country calling code has one to three digits.
_CALLING_CODE_LENGTHS = (1, 2, 3)


class AskedNumbers:
    """The numbers of one request, to be found in whatever form an answer writes them.

    >>> asked = AskedNumbers([919810012345, 919810067890])
    >>> [asked.find_msisdn(shown) for shown in ("+91 98100-12345", 9810067890, "9899999999")]
    [919810012345, 919810067890, None]
    """

    def __init__(self, msisdns: Iterable[int]) -> None:
        self._asked = frozenset(msisdns)

    def find_exact(self, values: Sequence[object]) -> list[int] | None:
        """The numbers that `values` are, where each is another one, written as we do; else None."""
        exact: dict[object, int] = {str(msisdn): msisdn for msisdn in self._asked}
        try:
            found = [*map(exact.get, values)]
        except TypeError:  # a list or an object
            return None
        distinct = {*found}
        if len(distinct) < len(found) or None in distinct:
            return None
        return cast("list[int]", found)

    def find_msisdn(self, value: object, *, entries: int = 0) -> int | None:
        """The number that `value` means: the same one, else the only one that ends in it.

        Only the country code may be missing. A `value` that cannot be read (masked, left out) means
        the only number of the request where the answer has one entry. None where no number of the
        request fits, or several do. `entries` is how many entries the answer has.
        """
        found = self.find_candidates(value)
        if found is None and entries == 1:
            found = self._asked
        return next(iter(found)) if found and len(found) == 1 else None

    def find_candidates(self, value: object) -> frozenset[int] | None:
        """All numbers that `value` may mean; None where it is not a number."""
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
    """The messages of one status request, to be found by number, by id, or by both."""

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
        """The target that number and id agree on; None where they disagree or fit no target.

        Where the number cannot be read (masked, missing) the id decides; without an id, the entry
        is about the only target if the answer has one entry. `entries` is how many it has.
        """
        by_id = self._by_id.get(message_id) if message_id else None
        candidates = self._numbers.find_candidates(number)
        if by_id is not None:
            agrees = candidates is None or by_id.msisdn in candidates
            return by_id if agrees else None
        msisdn = self._numbers.find_msisdn(number, entries=0 if message_id else entries)
        return None if msisdn is None else self._by_msisdn[msisdn]


def match_plain_targets(
    targets: Sequence[PollTarget], numbers: Sequence[object], ids: Sequence[object]
) -> list[int | None] | None:
    """The target's number for each entry with this number and id; None for other numbers.

    Returns None unless every entry is either about a target, with its number and its id written as
    we do, or about a whole number that surely is not a target's; and no two are about one target.
    `AskedTargets` finds the same, one by one.
    """
    known = [str(target.msisdn) for target in targets]
    pairs = zip(known, [target.provider_message_id for target in targets], strict=True)
    exact: dict[object, int] = {
        pair: target.msisdn for pair, target in zip(pairs, targets, strict=True)
    }
    try:
        found = [*map(exact.get, zip(numbers, ids, strict=True))]
    except TypeError:  # a list or an object
        return None
    matched = len(found) - found.count(None)
    if len({*found} - {None}) < matched:
        return None
    if matched < len(found):
        asked, longest = frozenset(known), max(map(len, known))
        others = [number for number, msisdn in zip(numbers, found, strict=True) if msisdn is None]
        if not all(_is_other_number(number, asked, longest) for number in others):
            return None
    return found


def _is_other_number(number: object, asked: frozenset[str], longest: int) -> bool:
    """Whether a number is none of those asked for, nor the end of one of them."""
    return (
        isinstance(number, str)
        and number not in asked
        and number.isascii()
        and number.isdigit()
        and number[0] != "0"
        and len(number) >= longest
    )


def read_msisdn(value: object) -> int | None:
    """The number in an entry of an account's whole list, in full; None where it is not a number."""
    number = _read_digits(value)
    return int(number) if number is not None and len(number) <= _MAX_MSISDN else None


def is_sender_name(value: object) -> bool:
    """Whether `value` is a sender's name, and not a number, masked or not.

    >>> is_name("YourName"), is_name("+91 98100-12345"), is_name("8801XXXX678")
    (True, False, False)
    """
    return isinstance(value, str) and any(char.isalpha() and char not in "xX" for char in value)


def match_accepted(
    entries: Sequence[object],
    asked: AskedNumbers,
    job_id: str | None,
    *,
    number_field: str,
    id_field: str,
) -> tuple[RecipientResult, ...]:
    """The recipients that `entries` name as accepted, once each.

    An entry without an id counts only where the request has a `job_id`.
    """
    plain = _match_plain(entries, asked, itemgetter(number_field), itemgetter(id_field))
    if plain is not None:
        return plain
    results: dict[int, RecipientResult] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = asked.find_msisdn(entry.get(number_field), entries=len(entries))
        message_id = read_id(entry.get(id_field))
        if msisdn is not None and (message_id or job_id):
            result = RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            results.setdefault(msisdn, result)
    return drop_shared_ids(results.values())


def _match_plain(
    entries: Sequence[object],
    asked: AskedNumbers,
    number_of: Callable[[Any], object],
    id_of: Callable[[Any], object],
) -> tuple[RecipientResult, ...] | None:
    """As `match_accepted` for an answer like the document's, in which nothing is odd; else None.

    That is what nearly all answers are, and each has thousands of entries.
    """
    try:
        numbers, shown_ids = [*map(number_of, entries)], [*map(id_of, entries)]
    except (KeyError, TypeError):
        return None
    msisdns, ids = asked.find_exact(numbers), read_ids(shown_ids)
    distinct = {*ids}
    if msisdns is None or None in distinct or len(distinct) < len(ids):
        return None
    nothing = repeat(None)
    columns = (msisdns, repeat(True), repeat(False), repeat(False), ids, nothing, nothing, nothing)
    return tuple(make_tuples(RecipientResult, zip(*columns, strict=False)))


def read_reports(
    data: object,
    targets: Sequence[PollTarget],
    read: Callable[[Mapping[str, Any], AskedTargets, int], DeliveryReport | None],
) -> list[DeliveryReport]:
    """The reports in `data` about `targets`, one for each message.

    `read` is given an entry, the targets and how many entries there are.
    """
    entries = read_entries(data) or ()
    asked = AskedTargets(targets)
    found = (read(entry, asked, len(entries)) for entry in entries if isinstance(entry, dict))
    return keep_most_final(report for report in found if report is not None)


def drop_shared_ids(results: Iterable[RecipientResult]) -> tuple[RecipientResult, ...]:
    """`results` without the ids that several recipients share: such an id finds the wrong one."""
    results = tuple(results)
    if len(results) == 1:
        return results
    uses = Counter(result.provider_message_id for result in results)
    return tuple(
        result
        if uses[result.provider_message_id] == 1
        else result._replace(provider_message_id=None)
        for result in results
    )


def keep_most_final(reports: Iterable[DeliveryReport]) -> list[DeliveryReport]:
    """One report for each message: the most final one, else the first."""
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
    """The digits of `value` without leading zeros (trunk and international prefixes); else None."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).translate(_PUNCTUATION).lstrip("0")
    return text if text.isascii() and text.isdigit() and len(text) <= 20 else None
