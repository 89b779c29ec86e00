"""Decides from a provider's list of accepted messages which doubtful recipients were accepted.

A wrong FOUND loses somebody, a wrong ABSENT texts somebody twice: without proof the doubt remains.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntFlag
from typing import Final, NamedTuple

from dispatcher.types import ListedMessage, ListPage

#: How wrong the provider's clock may be when an entry is matched by its time.
CLOCK_SKEW: Final = timedelta(minutes=10)
#: An entry dated this much earlier is older, whatever time zone the provider's dates are in.
_SURELY_OLDER: Final = timedelta(days=1)
#: Scans of the whole list before the campaign's `--on-doubt` decides about the rest.
MAX_SCANS: Final = 6
#: How many accounts' lists a worker reads at a time.
SCANS_AT_ONCE: Final = 2


class DoubtNote(IntFlag):
    """What is known about a message's doubt, past or present. Stored as bits: never renumber."""

    #: The latest scan that can prove absence showed no entry for its number.
    MISSED = 1
    #: The latest scan showed an entry for its number that may be its own.
    UNEXPLAINED = 2
    #: Its provider id is from the provider's list, matched by number, text and sender.
    FOUND = 4
    #: The list proved that it was not accepted, and it became pending again.
    ABSENT = 8
    #: It became pending again because a person or `--on-doubt resend` decided so.
    RESENT = 16
    #: A person decided that it was submitted.
    ASSUMED = 32
    #: A person or `--on-doubt drop` gave it up, although it may have been accepted.
    DROPPED = 64
    #: A late answer said that an earlier request of it was accepted, while a later one was open.
    ACCEPTED_LATE = 128


class ListFinding(Enum):
    """What a scan says about one recipient; only FOUND and ABSENT end the doubt."""

    FOUND = "found"
    ABSENT = "absent"
    #: Not listed, in a scan that can prove absence; a second such scan proves it.
    MISSED = "missed"
    #: The list has an entry for its number that may be its own.
    UNEXPLAINED = "unexplained"
    #: The scan says nothing about it.
    UNKNOWN = "unknown"


class Decision(NamedTuple):
    """The finding for the message `seq`, with its entry in the list if it was found."""

    seq: int
    finding: ListFinding
    entry: ListedMessage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One recipient in doubt; `was_missed` if an earlier scan said MISSED.

    `since`: when the first of its requests in doubt began, if it was submitted again while it was
    in doubt. The list says the same about the recipient, whichever of them an entry is of.
    """

    seq: int
    msisdn: int
    text: str
    was_missed: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMessages:
    """What the store knows about other messages to one number, at the time of the decision.

    `answered_ids`: provider ids from the answers to requests. `matched_ids`: ids that earlier scans
    matched; their true owner may be an equal message. `without_id`: how many messages the account
    accepted since the start of which no id is known. `has_open_request`: a request for the number
    is in flight.
    """

    answered_ids: frozenset[str] = frozenset()
    matched_ids: frozenset[str] = frozenset()
    without_id: int = 0
    has_open_request: bool = False


class ListScan:
    """The entries that one scan of an account's list found, read page by page, newest first.

        scan = ListScan(numbers)
        scan.add_page(page, answered={"id-7": ended_at})   # for every page, then
        scan.is_complete = True

    Keeps only entries for `numbers`, so its size does not depend on the list's length.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        self._numbers = frozenset(numbers)
        self._entries: dict[int, list[tuple[int, ListedMessage]]] = {}
        self._number_of: dict[str, int] = {}
        self._ambiguous: set[str] = set()
        self._seen = 0
        #: (place, time): entries from this place on are older than this time, which decreases.
        #: By the answers to our requests, and by the entries' own dates.
        self._answered: list[tuple[int, datetime]] = []
        self._dated: list[tuple[int, datetime]] = []
        #: The latest date of an entry that we know.
        self._known_date: datetime | None = None
        self._misdated = False
        self._whole = True
        #: Whether every page was read, down to one older than needed or to the last.
        self.is_complete = False

    def add_page(self, page: ListPage, answered: Mapping[str, datetime]) -> None:
        """Add the next page.

        `answered`: for ids on the page that we know from answers, when the answer came.
        """
        self._whole = self._whole and page.whole
        for entry in page.entries:
            place, self._seen = self._seen, self._seen + 1
            known_at = answered.get(entry.provider_message_id)
            dated = entry.created_at + _SURELY_OLDER if entry.created_at is not None else None
            if known_at is not None:
                _add_mark(self._answered, place, known_at)
            if dated is not None:
                _add_mark(self._dated, place, dated)
            if known_at is not None and entry.created_at is not None and dated is not None:
                self._misdated = self._misdated or dated < known_at
                self._known_date = max(entry.created_at, self._known_date or entry.created_at)
            self._keep_entry(place, entry)

    def reaches_back_to(self, start: datetime) -> bool:
        """Whether the list has shown an entry that is surely older than `start`."""
        return self._first_older_place(start) is not None

    def can_prove_absence(self, start: datetime) -> bool:
        """Whether the scan can prove absence for a request begun at `start`.

        It cannot if an entry was unreadable, if it shows no message that we know, or if the date
        of one that we know is wrong.
        """
        proves = self.is_complete and self._whole and not self._misdated
        return proves and self.reaches_back_to(start)

    def entries_since(self, msisdn: int, start: datetime) -> list[ListedMessage]:
        """Entries for a number that may stem from a request begun at `start`, oldest first."""
        return [entry for _place, entry in self._placed_since(msisdn, start)]

    def matching_entries(self, doubt: Doubt, sender: str, start: datetime) -> list[ListedMessage]:
        """Entries since `start` with the doubt's number, text and sender, oldest first."""
        end = self._first_older_place(start)
        return [
            entry
            for place, entry in self._placed_since(doubt.msisdn, start)
            if (end is None or place < end)
            and (entry.created_at is None or entry.created_at >= start - CLOCK_SKEW)
            and entry.provider_message_id not in self._ambiguous
            and matches_message(entry, doubt.text, sender)
        ]

    def _placed_since(self, msisdn: int, start: datetime) -> list[tuple[int, ListedMessage]]:
        kept = self._entries.get(msisdn, ())
        oldest = start - _SURELY_OLDER
        trusts_dates = self._trusts_dates(start)
        return [
            (place, entry)
            for place, entry in reversed(kept)
            if not trusts_dates or entry.created_at is None or entry.created_at >= oldest
        ]

    def _trusts_dates(self, start: datetime) -> bool:
        """Whether the provider's dates can be compared with `start`, a time of our own clock.

        If our clock was ahead, the entry of the request itself would look older than it. A message
        that we know to be accepted, dated less than a day before `start`, proves that it was not.
        """
        if self._known_date is None or self._misdated:
            return False
        return self._known_date + _SURELY_OLDER >= start

    def _first_older_place(self, start: datetime) -> int | None:
        """From which place on all entries are surely older than `start`; None if from none."""
        marks = [self._answered, self._dated] if self._trusts_dates(start) else [self._answered]
        found = [bisect_right(each, -start.timestamp(), key=_descending) for each in marks]
        places = [each[i][0] for each, i in zip(marks, found, strict=True) if i < len(each)]
        return min(places, default=None)

    def _keep_entry(self, place: int, entry: ListedMessage) -> None:
        """Keep an entry once: pages shift while new messages arrive, so it may be shown twice."""
        message_id, msisdn = entry.provider_message_id, entry.msisdn
        if msisdn is None or msisdn not in self._numbers:
            return
        first_for = self._number_of.setdefault(message_id, msisdn)
        kept = self._entries.setdefault(msisdn, [])
        if first_for != msisdn:
            self._ambiguous.add(message_id)
        elif any(known.provider_message_id == message_id for _, known in kept):
            return
        kept.append((place, entry))


def _descending(mark: tuple[int, datetime]) -> float:
    return -mark[1].timestamp()


def _add_mark(marks: list[tuple[int, datetime]], place: int, before: datetime) -> None:
    if not marks or before < marks[-1][1]:
        marks.append((place, before))


def decide_doubts(
    doubts: Iterable[Doubt],
    *,
    begun_at: datetime,
    sender: str,
    scan: ListScan,
    others: Mapping[int, OtherMessages],
    absence_provable: bool,
) -> list[Decision]:
    """Decide about the doubtful recipients of one request, begun at `begun_at`, from a scan.

    FOUND: an entry since then, or since `Doubt.since`, has the number, text and sender, and its id
    belongs to no other message. ABSENT: in two scans that can prove it, every entry for the number
    since `begun_at`, whatever its text, belongs to another message. `absence_provable` is False if
    the provider's list is not complete or the request was scheduled at the provider; then nobody is
    ABSENT.
    """
    taken: set[str] = set()
    is_proof = scan.can_prove_absence(begun_at)
    decisions = []
    for doubt in doubts:
        other = others.get(doubt.msisdn, OtherMessages())
        if other.has_open_request:
            decisions.append(Decision(doubt.seq, ListFinding.UNKNOWN))
            continue
        used = other.answered_ids | other.matched_ids | taken
        entry = _find_own_entry(doubt, begun_at, sender, scan, used, other.without_id)
        if entry is not None:
            taken.add(entry.provider_message_id)
            decisions.append(Decision(doubt.seq, ListFinding.FOUND, entry))
            continue
        if any(
            not _belongs_to_another(entry, doubt, sender, other)
            for entry in scan.entries_since(doubt.msisdn, begun_at)
        ):
            finding = ListFinding.UNEXPLAINED
        elif not (is_proof if absence_provable else scan.is_complete):
            finding = ListFinding.UNKNOWN
        else:
            finding = (
                ListFinding.ABSENT if absence_provable and doubt.was_missed else ListFinding.MISSED
            )
        decisions.append(Decision(doubt.seq, finding))
    return decisions


def _find_own_entry(
    doubt: Doubt,
    begun_at: datetime,
    sender: str,
    scan: ListScan,
    used: Collection[str],
    without_id: int,
) -> ListedMessage | None:
    """The entry of the recipient's latest request, else of an earlier one."""
    for start in filter(None, (begun_at, doubt.since)):
        matching = scan.matching_entries(doubt, sender, start)
        free = [entry for entry in matching if entry.provider_message_id not in used]
        if len(free) > without_id:
            return free[0]
    return None


def _belongs_to_another(
    entry: ListedMessage, doubt: Doubt, sender: str, other: OtherMessages
) -> bool:
    """Whether an entry surely belongs to another message; an id that a scan matched may be ours."""
    if entry.provider_message_id in other.answered_ids:
        return True
    return entry.provider_message_id in other.matched_ids and not matches_message(
        entry, doubt.text, sender
    )


def matches_message(entry: ListedMessage, text: str, sender: str) -> bool:
    """Whether an entry has this text and sender; an entry without a sender matches every sender.

    Ignores white space, the case of senders, and a `+` before numbers: providers change these.
    """
    if entry.text is None or entry.text.split() != text.split():
        return False
    return entry.sender is None or _comparable_sender(entry.sender) == _comparable_sender(sender)


def _comparable_sender(sender: str) -> str:
    return sender.strip().removeprefix("+").casefold()
