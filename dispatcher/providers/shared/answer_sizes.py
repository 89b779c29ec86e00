"""How large an answer may be, by kind of call; the transport gives up a larger one.

A body costs many times its bytes in memory once it is parsed, so that each kind of call allows
what its largest honest answer needs and no more.
"""

from collections.abc import Sequence, Sized
from typing import Final

from dispatcher.types import Recipient

#: The balance: a few numbers, or a page that explains an error.
BALANCE_BYTES: Final = 256 * 1024
#: A page of accepted messages with their texts: 25 to 100 entries at the providers we know.
PAGE_BYTES: Final = 512 * 1024
#: All senders or all templates of an account: thousands, in India.
DIRECTORY_BYTES: Final = 4 * 1024 * 1024

_SUBMISSION_BYTES: Final = 1024 * 1024
_STATUS_BYTES: Final = 256 * 1024
#: An entry without its text.
_ENTRY_BYTES: Final = 512
#: The longest text that a provider takes: 766 characters, at worst all written as `\\u00e9`.
_TEXT_BYTES: Final = 6 * 766


def submission_bytes(recipients: Sequence[Recipient]) -> int:
    """For a submission: an entry for each recipient, which may repeat the escaped text."""
    texts = "".join([recipient.text for recipient in recipients])
    return max(_SUBMISSION_BYTES, len(recipients) * _ENTRY_BYTES + _escaped_bytes(texts))


def status_bytes(targets: Sized) -> int:
    """For a status request: an entry for each target, which may repeat the escaped text."""
    return max(_STATUS_BYTES, len(targets) * (_ENTRY_BYTES + _TEXT_BYTES))


def job_status_bytes(recipients: int) -> int:
    """For the status of a whole job: an entry without its text for every recipient.

    The answer lists those that have their receipt too, however few are still asked about.
    """
    return max(_STATUS_BYTES, recipients * _ENTRY_BYTES)


def _escaped_bytes(text: str) -> int:
    """Upper bound of `text` as JSON: `\\"` and `\\/` in ASCII, else `\\u` for each UTF-16 unit."""
    return 2 * len(text) if text.isascii() else 3 * len(text.encode("utf-16-le", "surrogatepass"))
