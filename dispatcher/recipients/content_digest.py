"""What makes two recipient lists the same: who gets which text, not the bytes of a file."""

import hashlib
import operator
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from pyroaring import BitMap64

_WEIGHT_BITS: Final = 128


class ContentDigest:
    """Grows by a number and its values; the order in which they come does not matter."""

    def __init__(self) -> None:
        self.msisdns: Final = BitMap64()
        self._sum = 0

    def add_values(self, msisdn: int, values: bytes) -> None:
        """Add what is filled into the text of a recipient.

        A checksum is enough and fast: it must notice mistakes, not attacks. It is weighted, so that
        it changes if two recipients swap their values.
        """
        self._sum += zlib.crc32(values) * msisdn

    def add_many(self, msisdns: Sequence[int], values: Iterable[bytes]) -> None:
        """Add the values of many recipients, in their order."""
        self._sum += sum(map(operator.mul, map(zlib.crc32, values), msisdns))

    def hexdigest(self) -> str:
        """The same for the same recipients with the same values."""
        self.msisdns.run_optimize()
        digest = hashlib.sha256(self.msisdns.serialize())
        digest.update((self._sum % (1 << _WEIGHT_BITS)).to_bytes(_WEIGHT_BITS // 8))
        return digest.hexdigest()
