"""Asks a Redis server whether it can carry work: it must answer, take a key and give it back."""

import ssl
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Final

from dispatcher.errors import BrokerError
from dispatcher.local.broker import CLIENT_TIMEOUT_S, redis_client, sentinel_clients
from dispatcher.local.broker_tls import TLS_SCHEMES

if TYPE_CHECKING:
    import redis
    from redis.exceptions import RedisError

_KEY_LIVES_S: Final = 10
_RECOVERS: Final = "workers and beat go on by themselves as soon as it takes keys again"
#: Words of an answer that refuses a command (https://redis.io/docs, "Redis serialization
#: protocol", errors): what they mean, and what to do.
_REFUSALS: Final = {
    "READONLY": (
        "is a read-only replica and refuses to write",
        f"point `url` under [broker] at the primary; {_RECOVERS}",
    ),
    "MISCONF": (
        "cannot save to its disk, and refuses to write (MISCONF)",
        f"free its disk, or set stop-writes-on-bgsave-error to no; {_RECOVERS}",
    ),
    "OOM": (
        "has used all its memory (maxmemory), and refuses to write",
        f"raise maxmemory, or remove what else it holds; {_RECOVERS}",
    ),
    "LOADING": ("is still loading its data", f"wait; {_RECOVERS}"),
    "MASTERDOWN": ("is a replica that has lost its primary", f"repair the primary; {_RECOVERS}"),
    "NOREPLICAS": (
        "has fewer replicas than min-replicas-to-write, and refuses to write",
        f"start its replicas; {_RECOVERS}",
    ),
    "CLUSTERDOWN": ("is part of a cluster that is down", f"repair the cluster; {_RECOVERS}"),
    "MOVED": (
        "is part of a cluster, which Celery cannot use",
        "use a single server, or a primary with replicas",
    ),
    "NOPERM": (
        "does not let this user run the commands that are needed",
        "allow its user all keys, channels and commands",
    ),
    "NOAUTH": ("asks for a password", "add the password to `url` under [broker]"),
    "WRONGPASS": ("refuses the user or the password", "correct `url` under [broker]"),
    "MAX": ("has as many clients as it allows (maxclients)", "raise maxclients"),
}


def probe_broker(url: str, timeout_s: float = CLIENT_TIMEOUT_S) -> str:
    """Write a key, read it, remove it. Returns the server's version.

    Raises BrokerError, whose message goes on after the name of the server ("refuses to write").
    """
    from redis.exceptions import RedisError
    from redis.sentinel import MasterNotFoundError

    has_tls = url.startswith(TLS_SCHEMES)
    name, value = f"dispatcher:doctor:{uuid.uuid4().hex}", b"written by `dispatcher doctor`"
    try:
        with closing(redis_client(url, timeout_s)) as client:
            version = client.info("server").get("redis_version")
            client.set(name, value, ex=_KEY_LIVES_S)
            found = client.get(name)
            client.delete(name)
    except MasterNotFoundError:
        raise BrokerError(*_explain_missing_primary(sentinel_clients(url), has_tls)) from None
    except RedisError as error:
        raise BrokerError(*explain_broker_error(error, has_tls=has_tls)) from error
    if found != value:
        raise BrokerError(
            "took a key and lost it",
            "connect to the primary without a proxy, and set maxmemory-policy to noeviction",
        )
    return str(version)


def explain_broker_error(error: "RedisError", *, has_tls: bool = False) -> tuple[str, str | None]:
    """What the server did, as the end of a sentence, and what to do about it."""
    from redis import exceptions

    tls = _tls_cause(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that cannot be verified: {tls.verify_message.rstrip('.')}",
            "no password was sent: name its authority's certificate as `ca_file` under [broker]",
        )
    if tls is not None:
        return (
            f"does not speak TLS as expected ({tls.reason or type(tls).__name__})",
            "write redis:// where it has no TLS, and check the port",
        )
    # redis-py removes the first word of some refusals, and makes it the error's class.
    if isinstance(error, exceptions.AuthenticationError) and "invalid" not in str(error).lower():
        return _REFUSALS["NOAUTH"]
    first = _FIRST_WORDS.get(type(error).__name__) or f"{error} ".split()[0].upper()
    if (
        isinstance(error, exceptions.ResponseError | exceptions.AuthenticationError)
        or first in _REFUSALS
    ):
        unknown = f"refuses a command ({first[:40]})", None
        return _REFUSALS.get(first, unknown)
    if isinstance(error, exceptions.TimeoutError):
        # It waits for the end of a line, which the first message of TLS does not have.
        hint = "where the server has no TLS, write redis:// (or sentinel://)" if has_tls else None
        return "gives no answer in time", hint
    return f"does not answer ({type(error).__name__})", None


def _explain_missing_primary(
    sentinels: "list[redis.Redis]", has_tls: bool
) -> tuple[str, str | None]:
    """Why the Sentinels name no primary: as the first of them that gives an error says."""
    from redis.exceptions import RedisError

    for sentinel in sentinels:
        try:
            sentinel.ping()
        except RedisError as error:
            said, hint = explain_broker_error(error, has_tls=has_tls)
            return f"is unknown: one of its Sentinels {said}", hint
    return (
        "is unknown: its Sentinels name no primary that answers",
        "check `master_name` in `url` under [broker], and that server; a failover takes seconds",
    )


_FIRST_WORDS: Final = {
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MaxClientsError": "MAX",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
