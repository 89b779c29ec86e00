"""How Celery speaks to the broker: it comes back soon after an outage, and keeps its clients."""

from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.transport import redis

#: Celery's own reconnect waits grow to 30 s, and no setting reaches them.
_RECONNECT_MAX_S: Final = 2


class _Channel(redis.Channel):
    """Keeps its client: kombu makes one for every command, which takes longer than the command."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        # After an outage the channel has another pool.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


class _Transport(redis.Transport):
    Channel = _Channel


class _Connection(Connection):
    """Tries again every two seconds at the latest."""

    def get_transport_cls(self) -> Any:
        """Ours in place of kombu's for Redis; a Sentinel's is left as it is."""
        found = super().get_transport_cls()
        return _Transport if found is redis.Transport else found

    def _ensure_connection(
        self,
        errback: Any = None,
        max_retries: int | None = None,
        interval_start: float = 0.2,
        interval_step: float = 0.5,
        interval_max: float = _RECONNECT_MAX_S,
        **rest: Any,
    ) -> Any:
        return super()._ensure_connection(
            errback, max_retries, interval_start, interval_step, interval_max, **rest
        )

    def Pool(self, limit: int | None = None, **_: Any) -> "_Pool":  # noqa: N802 - kombu's name
        """What is published by; kombu's pool makes connections of kombu's class."""
        return _Pool(self, limit=limit)


class _Pooled(PooledConnection, _Connection):
    pass


class _Pool(ConnectionPool):
    def new(self) -> _Pooled:
        return _Pooled(self, **dict(self.connection._info(resolve=False)))


class BrokerAMQP(AMQP):
    """Makes Celery use these connections."""

    Connection = _Connection
