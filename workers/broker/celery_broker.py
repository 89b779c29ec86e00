"""Celery's connections to the broker: they reconnect soon, and drop malformed messages."""

import logging
import threading
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import redis as redis_library
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.exceptions import KombuError
from kombu.transport import redis
from redis.exceptions import RedisError

from dispatcher.logs.events import LogEvent, log_event
from workers.broker.task_messages import find_message_problem, find_unacked_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

#: Celery's pauses between reconnects grow to 30 s, and no setting changes that.
_RECONNECT_STEP_S: Final = 0.3
_RECONNECT_MAX_S: Final = 1.0


#: Errors of the connection, which Celery handles; others come from what a message holds.
CONNECTION_ERRORS: Final = (RedisError, KombuError, OSError, redis.Empty)


class DroppedMessages:
    """Counts the malformed messages that this process has dropped. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def note_drop(self, queue: str, problem: str) -> None:
        """Count a message and log it. Repeated lines are left out by the log filter."""
        with self._lock:
            self._count += 1
        words = "dropped a message of the queue %s: %s"
        log_event(log, LogEvent.MESSAGE_DROPPED, words, queue[:100], problem)

    def take_count(self) -> int:
        """How many were dropped since the last call."""
        with self._lock:
            count, self._count = self._count, 0
        return count


dropped_messages: Final = DroppedMessages()


def _is_item(response: object) -> TypeGuard["Sequence[bytes]"]:
    """The queue's key and the item that was taken from it."""
    return isinstance(response, list | tuple)


class _Client(redis_library.Redis):
    """Looks at each message of a queue before kombu decodes it."""

    def parse_response(self, connection: object, command_name: object, **options: object) -> object:
        parse: Callable[..., object] = super().parse_response
        response = parse(connection, command_name, **options)
        if command_name != "BRPOP" or not _is_item(response):
            return response
        key, item = response
        queue = key.decode("utf-8", "replace").partition(redis.Channel.sep)[0]
        problem = find_message_problem(queue, item)
        if problem is None:
            return response
        dropped_messages.note_drop(queue, problem)
        return None  # as if the queue had been empty


class _QoS(redis.QoS):
    """Puts back what a worker that has vanished left, but nothing that is malformed."""

    def restore_by_tag(self, tag: object, client: object = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as conn:
            held: bytes | None = conn.hget(self.unacked_key, tag)
            problem = None if held is None else find_unacked_problem(held)
            if problem is None:
                super().restore_by_tag(tag, conn, leftmost)
                return
            dropped_messages.note_drop(self.unacked_key, problem)
            conn.hdel(self.unacked_key, tag)
            conn.zrem(self.unacked_index_key, tag)


class _Channel(redis.Channel):
    """Keeps its client: kombu makes one per command, which takes longer than the command itself."""

    QoS = _QoS
    _kept: Any = None

    def _get_client(self) -> type[_Client]:
        super()._get_client()  # checks the version
        return _Client

    def _create_client(self, asynchronous: bool = False) -> object:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        # After an outage the channel has a new pool.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept

    def _receive_one(self, c: object) -> object:
        """A message to all workers (remote control), or an event."""
        try:
            return super()._receive_one(c)
        except CONNECTION_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - of what anybody may publish
            dropped_messages.note_drop("for all workers", f"error {type(error).__name__}")
            raise redis.Empty from None

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """The bindings of an exchange, without malformed ones."""
        return [binding for binding in super().get_table(exchange) if len(binding) == 3]


class _SentinelChannel(_Channel, redis.SentinelChannel):
    pass


class _Transport(redis.Transport):
    Channel = _Channel


class _SentinelTransport(redis.SentinelTransport):
    Channel = _SentinelChannel


class _Connection(Connection):
    """A connection that tries to reconnect at least every second."""

    def get_transport_cls(self) -> object:
        """Our transports instead of kombu's for Redis, with and without Sentinels."""
        found: object = super().get_transport_cls()
        if found is redis.SentinelTransport:
            return _SentinelTransport
        return _Transport if found is redis.Transport else found

    def _ensure_connection(
        self,
        errback: object = None,
        max_retries: int | None = None,
        interval_start: float = 0.2,
        interval_step: float = _RECONNECT_STEP_S,
        interval_max: float = _RECONNECT_MAX_S,
        **rest: object,
    ) -> object:
        return super()._ensure_connection(
            errback, max_retries, interval_start, interval_step, interval_max, **rest
        )

    def Pool(self, limit: int | None = None, **_: object) -> "_Pool":  # noqa: N802 - kombu's name
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
