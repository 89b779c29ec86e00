"""A Redis server behind Sentinels: `sentinel://H1:26379;H2:26379/0?master_name=NAME`.

Sentinels say which server is the primary now; after a failover a new connection goes to another.
With `sentinels://` Sentinels and servers speak TLS, by the same options.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEME: Final = "sentinel://"
TLS_SCHEME: Final = "sentinels://"
_PORT: Final = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelPlace:
    """What a checked URL names: the Sentinels, and the server that they watch."""

    sentinels: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    #: Of the server that carries the work; in neither repr nor log.
    username: str | None
    password: str | None
    #: Of the Sentinels themselves.
    sentinel_password: str | None

    def __repr__(self) -> str:
        return f"SentinelPlace({self.sentinels}, {self.master_name})"


def is_sentinel_url(url: str) -> bool:
    """Whether a URL names Sentinels, with TLS or without."""
    return url.startswith((SCHEME, TLS_SCHEME))


def parse_sentinel_url(url: str) -> SentinelPlace:
    """The parts of a URL that `urls.check_broker_url` has accepted."""
    rest, _, query = url.partition("://")[2].partition("?")
    places, _, database = rest.partition("/")
    options = dict(parse_qsl(query))
    userinfo, _, hosts = places.rpartition("@")
    user, _, password = userinfo.partition(":")
    parts = [urlsplit(f"//{host}") for host in hosts.split(";")]
    return SentinelPlace(
        sentinels=tuple((part.hostname or "", part.port or _PORT) for part in parts),
        master_name=options["master_name"],
        database=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_password=options.get("sentinel_password"),
    )


def kombu_url(url: str) -> str:
    """The URL as kombu reads it: a whole one for each Sentinel. Others are unchanged.

    kombu knows one scheme for both: TLS is in `transport_options` and Celery's `broker_use_ssl`.
    """
    if not is_sentinel_url(url):
        return url
    place = parse_sentinel_url(url)
    secret = "" if place.password is None else quote(place.password, safe="")
    userinfo = f"{quote(place.username or '', safe='')}:{secret}@" if secret else ""
    return ";".join(
        f"{SCHEME}{userinfo}{f'[{host}]' if ':' in host else host}:{port}/{place.database}"
        for host, port in place.sentinels
    )


def transport_options(url: str, tls: Mapping[str, object] | None) -> Mapping[str, object]:
    """What kombu and Flower need beside `kombu_url`; nothing for other URLs.

    `tls` has the TLS options of the URL; None without TLS.
    """
    if not is_sentinel_url(url):
        return {}
    place = parse_sentinel_url(url)
    return {"master_name": place.master_name, "sentinel_kwargs": sentinel_options(place, tls)}


def sentinel_options(
    place: SentinelPlace, tls: Mapping[str, object] | None
) -> Mapping[str, object]:
    """How to connect to the Sentinels themselves: each is asked once, then the next one."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, object] = {
        "socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0),
    }  # fmt: skip
    if place.sentinel_password is not None:
        options["password"] = place.sentinel_password
    if tls is not None:
        options |= {"ssl": True, **tls}
    return options
