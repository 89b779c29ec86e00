"""Pure judgement of doubt: what a look at the provider's own list says of doubtful recipients.

A wrong FOUND loses somebody, a wrong ABSENT texts somebody twice: what is not proved stays open.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntFlag
from typing import Final, NamedTuple

from dispatcher.types import ListedMessage, ListPage

#: The provider's clock may be wrong by so much for an entry to be found by its time.
CLOCK_SKEW: Final = timedelta(minutes=10)
#: An entry whose date is older by so much is older, whatever zone the provider writes dates in.
_SURELY_OLDER: Final = timedelta(days=1)
#: Looks that do not settle anything grow apart, up to this.
_LONGEST_PAUSE_S: Final = 3600.0
#: Looks at the list before what is left follows the campaign's `--on-doubt`.
MAX_SCANS: Final = 6
#: Accounts whose lists are read at the same time.
SCANS_AT_ONCE: Final = 2


class DoubtNote(IntFlag):
    """What is known of a message's doubt, past or present. Stored: a new one takes a new bit."""

    #: The latest look that counted showed nothing of it.
    MISSED = 1
    #: The latest look showed an entry for its number that nobody explains.
    UNEXPLAINED = 2
    #: Its provider id is from the provider's list, matched by number, text and sender.
    FOUND = 4
    #: It was proved absent, and went back to be submitted.
    ABSENT = 8
    #: A person, or `--on-doubt resend`, had it submitted again.
    RESENT = 16
    #: A person said that it was submitted.
    ASSUMED = 32
    #: A person, or `--on-doubt drop`, gave it up: it may have been accepted all the same.
    DROPPED = 64


class ListFinding(Enum):
    """What a look says of one recipient; all but the first two leave it in doubt."""

    FOUND = "found"
    ABSENT = "absent"
    #: Nothing of it is listed, in a look that counts; the next such look proves its absence.
    MISSED = "missed"
    #: There is an entry for its number that may be its own.
    UNEXPLAINED = "unexplained"
    #: The look says nothing of it.
    UNKNOWN = "unknown"


class Decision(NamedTuple):
    """The finding for the message `seq`, with its entry where it was found."""

    seq: int
    finding: ListFinding
    entry: ListedMessage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One recipient in doubt. `missed`: a look that counted has not shown it before."""

    seq: int
    msisdn: int
    text: str
    was_missed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMessages:
    """What the store knows, at the time of the decision, of other messages to one number.

    `held` are the ids that answers gave to messages, `matched` those that earlier looks did: an
    equal message may be their true owner. `nameless` counts messages of this account, accepted
    since the start, of which no id is known; `busy` says that a request for the number is open.
    """

    answered_ids: frozenset[str] = frozenset()
    matched_ids: frozenset[str] = frozenset()
    without_id: int = 0
    has_open_request: bool = False


class ListScan:
    """What the pages of one look at an account's list show, read newest first.

        look = Look(numbers)
        look.add(page, answered={"id-7": ended_at})   # again for every page, then
        look.complete = True

    Keeps the entries for `numbers` only, so that its size does not grow with the list.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        self._numbers = frozenset(numbers)
        self._entries: dict[int, list[tuple[int, ListedMessage]]] = {}
        self._number_of: dict[str, int] = {}
        self._ambiguous: set[str] = set()
        self._seen = 0
        #: Places in the list from which on everything is older than a time; both fall.
        self._marks: list[tuple[int, datetime]] = []
        self._knows = False
        self._misdated = False
        self._whole = True
        #: Whether every page answered, down to one that is older than needed, or to the last.
        self.is_complete = False

    def add_page(self, page: ListPage, answered: Mapping[str, datetime]) -> None:
        """Take the next page. `answered`: when the answers came that gave us ids standing on it."""
        self._whole = self._whole and page.whole
        for entry in page.entries:
            place, self._seen = self._seen, self._seen + 1
            known_at = answered.get(entry.provider_message_id)
            self._knows = self._knows or known_at is not None
            dated = entry.created_at + _SURELY_OLDER if entry.created_at is not None else None
            if known_at is not None and dated is not None and dated < known_at:
                self._misdated = True
            before = min((at for at in (known_at, dated) if at is not None), default=None)
            if before is not None and (not self._marks or before < self._marks[-1][1]):
                self._marks.append((place, before))
            self._keep_entry(place, entry)

    def reaches_back_to(self, start: datetime) -> bool:
        """Whether an entry was shown that is surely older than `start`."""
        return bool(self._marks) and self._marks[-1][1] < start

    def can_prove_absence(self, start: datetime) -> bool:
        """Whether this is a look that can prove absence for a request begun at `start`.

        Not where the date of a message we know shows that the list's dates mean nothing, nor where
        something was listed that cannot be read.
        """
        proves = self.is_complete and self._whole and self._knows and not self._misdated
        return proves and self.reaches_back_to(start)

    def entries_since(self, msisdn: int, start: datetime) -> list[ListedMessage]:
        """Entries for a number that may be of a request begun at `start`, oldest first."""
        return [entry for _place, entry in self._placed_since(msisdn, start)]

    def matching_entries(self, doubt: Doubt, sender: str, start: datetime) -> list[ListedMessage]:
        """Entries of the span that agree in text and sender, oldest first."""
        end = next((place for place, before in self._marks if before < start), self._seen)
        return [
            entry
            for place, entry in self._placed_since(doubt.msisdn, start)
            if place < end
            and (entry.created_at is None or entry.created_at >= start - CLOCK_SKEW)
            and entry.provider_message_id not in self._ambiguous
            and matches_message(entry, doubt.text, sender)
        ]

    def _placed_since(self, msisdn: int, start: datetime) -> list[tuple[int, ListedMessage]]:
        kept = self._entries.get(msisdn, ())
        oldest = start - _SURELY_OLDER
        return [
            (place, entry)
            for place, entry in reversed(kept)
            if entry.created_at is None or entry.created_at >= oldest
        ]

    def _keep_entry(self, place: int, entry: ListedMessage) -> None:
        """Pages shift while new messages come in at the top: an entry may be shown twice."""
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


def decide_doubts(
    doubts: Iterable[Doubt],
    *,
    begun_at: datetime,
    sender: str,
    scan: ListScan,
    others: Mapping[int, OtherMessages],
    absence_provable: bool,
) -> list[Decision]:
    """What `look` says of the doubtful recipients of one request, begun at `begun_at`.

    Found: number, text and sender agree with an entry in the time span whose id nobody holds and
    nobody else may need. Absent: two looks that count have shown no entry for the number in the
    span, whatever its text, but those that answers explain. `absence_provable` is False where the
    list is not whole, or the request was scheduled at the provider: then never ABSENT.
    """
    taken: set[str] = set()
    counts = scan.can_prove_absence(begun_at)
    decisions = []
    for doubt in doubts:
        standing = others.get(doubt.msisdn, OtherMessages())
        if standing.has_open_request:
            decisions.append(Decision(doubt.seq, ListFinding.UNKNOWN))
            continue
        used = standing.answered_ids | standing.matched_ids | taken
        free = [
            entry
            for entry in scan.matching_entries(doubt, sender, begun_at)
            if entry.provider_message_id not in used
        ]
        if len(free) > standing.without_id:
            taken.add(free[0].provider_message_id)
            decisions.append(Decision(doubt.seq, ListFinding.FOUND, free[0]))
            continue
        if any(
            not _belongs_to_another(entry, doubt, sender, standing)
            for entry in scan.entries_since(doubt.msisdn, begun_at)
        ):
            finding = ListFinding.UNEXPLAINED
        elif not (counts if absence_provable else scan.is_complete):
            finding = ListFinding.UNKNOWN
        else:
            finding = (
                ListFinding.ABSENT if absence_provable and doubt.was_missed else ListFinding.MISSED
            )
        decisions.append(Decision(doubt.seq, finding))
    return decisions


def _belongs_to_another(
    entry: ListedMessage, doubt: Doubt, sender: str, standing: OtherMessages
) -> bool:
    """Whether an entry is surely another message's; one that a look matched may be ours instead."""
    if entry.provider_message_id in standing.answered_ids:
        return True
    return entry.provider_message_id in standing.matched_ids and not matches_message(
        entry, doubt.text, sender
    )


def matches_message(entry: ListedMessage, text: str, sender: str) -> bool:
    """Whether an entry has this text and sender; a sender that is not listed contradicts nothing.

    Providers change white space and the case of senders, and put a `+` before numbers.
    """
    if entry.text is None or entry.text.split() != text.split():
        return False
    return entry.sender is None or _comparable_sender(entry.sender) == _comparable_sender(sender)


def _comparable_sender(sender: str) -> str:
    return sender.strip().removeprefix("+").casefold()


def next_scan_delay_s(looks: int, first_s: float) -> float:
    """Seconds until the next look after `looks` of them: the second soon, then growing."""
    return min(_LONGEST_PAUSE_S, first_s * 2.0 ** max(0, looks - 1))
