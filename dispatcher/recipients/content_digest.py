"""What makes two recipient lists the same: who gets which text, not the bytes of a file."""

import hashlib
import zlib
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

    def hexdigest(self) -> str:
        """The same for the same recipients with the same values."""
        self.msisdns.run_optimize()
        digest = hashlib.sha256(self.msisdns.serialize())
        digest.update((self._sum % (1 << _WEIGHT_BITS)).to_bytes(_WEIGHT_BITS // 8))
        return digest.hexdigest()
