"""Which store a Redis database belongs to: two stores in one would take each other's work.

The queues of all stores have the same names. So the first store owns the database while its ticks
come, and others are refused.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dispatcher.store import store_identity
from dispatcher.store.engine import Store

if TYPE_CHECKING:
    import redis

#: How long a store owns the database after its last tick.
OWNER_TTL_S: Final = 20
OWNER_REMEDY: Final = (
    "give each store a database of its own, by the number at the end of `url` under [broker], as "
    f"in redis://HOST:6379/1; a store that has ended loses its database after {OWNER_TTL_S} s"
)
_PROBLEM: Final = "its Redis database belongs to another store, which is running"
_KEY: Final = "dispatcher:store"


class BrokerOwner:
    """Claims the Redis database for a store, and says when another store owns it. Thread-safe."""

    def __init__(self, store: Store, client: "redis.Redis") -> None:
        self._store = store
        self._client = client
        self._store_id: str | None = None

    def claim_database(self) -> str | None:
        """Own the database from now on. Returns why that is refused; None if it is not.

        Nothing is refused while Redis does not answer, or before the store has its identity.
        """
        from redis.exceptions import RedisError

        store_id = self._load_id()
        if store_id is None:
            return None
        with suppress(RedisError):
            if self._client.set(_KEY, store_id, nx=True, ex=OWNER_TTL_S):
                return None
            if self._is_other(self._client.get(_KEY), store_id):
                return _PROBLEM
            self._client.expire(_KEY, OWNER_TTL_S)
        return None

    def find_problem(self) -> str | None:
        """Why the store may not use the database, without claiming it; else None."""
        from redis.exceptions import RedisError

        with suppress(RedisError):
            if self._is_other(self._client.get(_KEY), self._load_id() or ""):
                return _PROBLEM
        return None

    def _load_id(self) -> str | None:
        if self._store_id is None:
            with self._store.read() as conn:
                row = store_identity.load_identity(conn)
            self._store_id = row.store_id if row is not None else None
        return self._store_id

    @staticmethod
    def _is_other(owner: object, store_id: str) -> bool:
        return isinstance(owner, bytes) and owner != store_id.encode()
