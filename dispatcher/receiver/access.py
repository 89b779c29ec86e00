"""Who may push: secret URLs, of which the store has only a hash."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from dispatcher.store.engine import Store
from dispatcher.store.push_urls import list_push_urls

#: What every secret URL begins with; the account and the token follow.
PUSH_PATH: Final = "/push/"
#: 256 bits: nobody guesses it, so that a plain hash of it can be kept.
_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 200
#: A revoked URL opens nothing after so many seconds.
_REREAD_S: Final = 2.0
_NO_DIGEST: Final = "0" * 64


def make_token() -> str:
    """A new token for a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest_token(token: str) -> str:
    """What is stored of a token: SHA-256, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


class PushAccess:
    """The URLs that are valid now. Thread-safe."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._digests: Mapping[str, tuple[str, ...]] = {}
        self._read_at: float | None = None

    def reread_if_due(self) -> None:
        """Read the URLs again, if the last time was a while ago. Raises StoreError."""
        now = self._clock()
        with self._lock:
            if self._read_at is not None and now - self._read_at < _REREAD_S:
                return
        digests: dict[str, tuple[str, ...]] = {}
        with self._store.read() as conn:
            for row in list_push_urls(conn):
                digests[row.account] = (*digests.get(row.account, ()), row.digest)
        with self._lock:
            self._digests, self._read_at = digests, now

    def find_account(self, path: str) -> str | None:
        """The account whose secret URL has this path; None if it is nobody's.

        It takes as long for a wrong token as for a right one, and for an unknown account.
        """
        account, _, token = path.removeprefix(PUSH_PATH).partition("/")
        if not path.startswith(PUSH_PATH) or len(token) > _LONGEST_TOKEN:
            return None
        given = digest_token(token)
        with self._lock:
            known = self._digests.get(account, (_NO_DIGEST,))
        matches = [hmac.compare_digest(given, digest) for digest in known]
        return account if any(matches) else None
