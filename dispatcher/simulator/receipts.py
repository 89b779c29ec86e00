"""What becomes of a message and when, as a function of seed, number and time."""

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from dispatcher.errors import UsageProblem

_MASK: Final = (1 << 64) - 1
_TAIL: Final = 10**8


class Fate(Enum):
    """What a provider knows about an accepted message; each family has its own words for it."""

    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    EXPIRED = "expired"


#: Last eight digits of a number → its fate. SENT: no final receipt ever comes.
MAGIC_FATES: Final = MappingProxyType(
    {
        55500001: Fate.DELIVERED,
        55500002: Fate.UNDELIVERED,
        55500003: Fate.EXPIRED,
        55500004: Fate.SENT,
    }
)
#: Last eight digits of a number that is accepted but missing from the answer.
MAGIC_MISSING: Final = 55500005


def is_left_out(number: int) -> bool:
    """Whether `number` is the magic number that is missing from the answer to its submission."""
    return number % _TAIL == MAGIC_MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptPlan:
    """Shares of the final receipts, and their delays; the rest up to 1 never gets one.

    Receipts become final within the range `after_s`, in seconds of scaled time; `scale` is how many
    of those pass in one real second. Raises UsageProblem where the values make no sense.
    """

    delivered: float = 0.94
    undelivered: float = 0.04
    expired: float = 0.01
    after_s: tuple[float, float] = (2.0, 30.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        shares = (self.delivered, self.undelivered, self.expired)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise UsageProblem(
                "the shares of delivered, undelivered and expired must be 0 or more and 1 together",
                "for example --delivered 0.94 --undelivered 0.04 --expired 0.01",
            )
        if self.scale <= 0:
            raise UsageProblem("the time scale must be above 0", "for example --scale 100")


class Receipts:
    """The fates of all messages under one seed."""

    def __init__(self, plan: ReceiptPlan, seed: int) -> None:
        self._plan = plan
        self._salt = (seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & _MASK
        self._undelivered_from = plan.delivered
        self._expired_from = plan.delivered + plan.undelivered
        self._sent_from = self._expired_from + plan.expired

    def fate_at(self, number: int, accepted_at: float, now: float) -> Fate:
        """What is known at `now` of the message accepted at `accepted_at` (Unix seconds)."""
        mixed = ((number ^ self._salt) * 0xD6E8FEB86659FD93) & _MASK
        mixed = ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93) & _MASK
        mixed ^= mixed >> 32
        low, high = self._plan.after_s
        delay = low + (high - low) * (mixed >> 44) / 0x100000
        if (now - accepted_at) * self._plan.scale < delay:
            return Fate.SENT
        magic = MAGIC_FATES.get(number % _TAIL)
        if magic is not None:
            return magic
        share = (mixed & 0xFFFFFFFF) / 0x100000000
        if share < self._undelivered_from:
            return Fate.DELIVERED
        if share < self._expired_from:
            return Fate.UNDELIVERED
        return Fate.EXPIRED if share < self._sent_from else Fate.SENT
