"""The last look at a line before it is written: no secret of the configuration, no phone number.

What is logged on purpose has neither. This is for what a library or a defect may put there.
"""

import logging
import re
from collections.abc import Collection
from typing import Final

from dispatcher.numbers.masking import mask_number

#: A number in international form: after a plus, or ten digits and more, also in groups. Ids of the
#: store are shorter.
_NUMBER: Final = re.compile(
    r"(?<![\d.])(?!\d{4}-\d\d-\d\d(?!\d))(?:\+\d(?:[ ()-]{0,2}\d){6,}|\d(?:[ ()-]{0,2}\d){9,})"
)
_HIDDEN: Final = "••••"
#: Shorter ones are ordinary words.
_SHORTEST_SECRET: Final = 6


class MaskingFilter(logging.Filter):
    """Masks the message and the traceback of every line; drops none."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        # The longest first: one may be a part of another.
        known = sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len)
        self._secrets = re.compile("|".join(map(re.escape, reversed(known)))) if known else None

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask it, whatever formats it later."""
        record.msg, record.args = self.mask_text(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self.mask_text(record.exc_text)
        return True

    def mask_text(self, text: str) -> str:
        """The text without secrets, and with masked numbers."""
        if self._secrets is not None:
            text = self._secrets.sub(_HIDDEN, text)
        return _NUMBER.sub(lambda found: mask_number(found.group()), text)
