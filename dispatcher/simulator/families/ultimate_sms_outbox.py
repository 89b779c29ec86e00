"""The sent messages of a simulated Ultimate SMS account, by uid and as pages, newest first.

A scheduled message is not shown before its time.
"""

import re
from array import array
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypedDict

from dispatcher.simulator import texts
from dispatcher.simulator.faults import RequestFaults
from dispatcher.simulator.ledger import Ledger, LedgerRow
from dispatcher.simulator.receipts import Fate

WORDS: Final = MappingProxyType(
    {
        Fate.SENT: "Enroute",
        Fate.DELIVERED: "Delivered",
        Fate.UNDELIVERED: "Undelivered",
        Fate.EXPIRED: "Expired",
    }
)
#: A reply of a recipient; the list shows it among the sent messages.
INBOUND: Final = MappingProxyType(
    {
        "uid": "5f00000000001",
        "to": "YourName",
        "from": "8801712999999",
        "message": "STOP",
        "customer_status": "Delivered",
        "cost": "0",
        "sms_count": 1,
        "send_by": "to",
    }
)
#: The only fields that the list of some servers has.
UNDATED: Final = frozenset({"uid", "to", "from", "message", "status", "customer_status", "cost"})
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")
_UID: Final = re.compile("[0-9a-f]{13}")


def read_schedule_time(schedule_time: str) -> float:
    """`Y-m-d H:i`, in UTC, as Unix time. Raises ValueError."""
    if _TIME.fullmatch(schedule_time) is None:
        raise ValueError("not Y-m-d H:i")
    return datetime.fromisoformat(f"{schedule_time}:00+00:00").timestamp()


def starting_time(row: LedgerRow) -> float:
    """When the message of a ledger row is sent, as Unix time."""
    at = row["at"]
    return max(at, read_schedule_time(row["schedule_time"])) if "schedule_time" in row else at


def format_laravel_time(at: float) -> str:
    """A Unix time as Laravel writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def count_server_parts(text: str) -> int:
    """Parts of a text; the server itself sends it as unicode where it must."""
    return texts.count_parts(text, unicode=not texts.fits_gsm7(text))


class ShownMessage(TypedDict):
    """What an answer shows of a message; a ledger row has these fields as well."""

    number: str
    message_id: str
    sender_id: str
    text: str


def render_message(
    row: ShownMessage, word: str, faults: RequestFaults, field: str = "customer_status"
) -> dict[str, object]:
    """A message as an answer shows it; `field` is the name of its status."""
    if "status_case" in faults:
        word = word.lower()
    if "status_suffix" in faults and "|" not in word:
        word = f"{word}|{row['message_id'][-6:]}"
    parts = count_server_parts(row["text"])
    return {
        "uid": row["message_id"],
        "to": row["number"][-10:] if "ten_digit" in faults else row["number"],
        "from": row["sender_id"],
        "message": row["text"],
        "status" if "status_field" in faults else field: word,
        "cost": str(parts),
        "sms_count": parts,
    }


class Outbox:
    """The messages of one provider among those in the ledger; 8 bytes each."""

    def __init__(self, ledger: Ledger, provider: str, seed: int) -> None:
        self._ledger = ledger
        self._provider = provider
        self._uid_base = 0x6000000000000 + seed * 0x9E3779B97F % 0xF0000000000
        self._sent = array("Q")
        self._later: list[tuple[float, range]] = []

    def next_serials(self, count: int) -> range:
        """The serials that the next `count` messages will have in the ledger."""
        return range(self._ledger.next_message, self._ledger.next_message + count)

    def format_uid(self, serial: int) -> str:
        """A message's uid: 13 hexadecimal digits, as in the documents."""
        return f"{self._uid_base + serial:013x}"

    def add_messages(self, serials: range, schedule_time: str | None, now: float) -> None:
        """Add accepted messages, which are sent now or at `schedule_time`."""
        if schedule_time is None or read_schedule_time(schedule_time) <= now:
            self._sent.extend(serials)
        else:
            self._later.append((read_schedule_time(schedule_time), serials))

    def find_message(self, uid: str, now: float) -> LedgerRow | None:
        """The ledger row of a sent message; None where there is none."""
        serial = int(uid, 16) - self._uid_base if _UID.fullmatch(uid) else -1
        row = self._ledger.find_message(serial)
        if row is None or row["provider"] != self._provider or starting_time(row) > now:
            return None
        return row

    def list_page(self, number: int, size: int, now: float) -> tuple[list[LedgerRow], int]:
        """The rows of page `number` (from 1), newest first, and how many messages there are."""
        for one in sorted(one for one in self._later if one[0] <= now):
            self._later.remove(one)
            self._sent.extend(one[1])
        end = max(0, len(self._sent) - (number - 1) * size)
        serials = self._sent[max(0, end - size) : end]
        rows = (self._ledger.find_message(serial) for serial in reversed(serials))
        return [row for row in rows if row is not None], len(self._sent)
