"""Celery's connections to the broker: they reconnect soon after an outage, and keep clients."""

from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.transport import redis

#: Celery's pauses between reconnects grow to 30 s, and no setting changes that.
_RECONNECT_MAX_S: Final = 2


class _Channel(redis.Channel):
    """Keeps its client: kombu makes one per command, which takes longer than the command itself."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        # After an outage the channel has a new pool.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


class _Transport(redis.Transport):
    Channel = _Channel


class _Connection(Connection):
    """A connection that reconnects at least every two seconds."""

    def get_transport_cls(self) -> Any:
        """Our transport instead of kombu's for Redis; that of a Sentinel is left as it is."""
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
        """The pool for publishing: kombu's own would make kombu's connections."""
        return _Pool(self, limit=limit)


class _Pooled(PooledConnection, _Connection):
    pass


class _Pool(ConnectionPool):
    def new(self) -> _Pooled:
        return _Pooled(self, **dict(self.connection._info(resolve=False)))


class BrokerAMQP(AMQP):
    """Makes Celery use our connections."""

    Connection = _Connection
