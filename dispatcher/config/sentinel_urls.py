"""A Redis server behind Sentinels: `sentinel://H1:26379;H2:26379/0?master_name=NAME`.

Sentinels say which server is the primary now; after a failover a new connection goes to another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEME: Final = "sentinel://"
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


def parse_sentinel_url(url: str) -> SentinelPlace:
    """The parts of a URL that `urls.check_broker_url` has accepted."""
    rest, _, query = url.removeprefix(SCHEME).partition("?")
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
    """The URL as kombu reads it: a whole one for each Sentinel. Others are unchanged."""
    if not url.startswith(SCHEME):
        return url
    place = parse_sentinel_url(url)
    secret = "" if place.password is None else quote(place.password, safe="")
    userinfo = f"{quote(place.username or '', safe='')}:{secret}@" if secret else ""
    return ";".join(
        f"{SCHEME}{userinfo}{f'[{host}]' if ':' in host else host}:{port}/{place.database}"
        for host, port in place.sentinels
    )


def transport_options(url: str) -> Mapping[str, object]:
    """What kombu and Flower need beside `kombu_url`; nothing for other URLs."""
    if not url.startswith(SCHEME):
        return {}
    place = parse_sentinel_url(url)
    return {"master_name": place.master_name, "sentinel_kwargs": sentinel_options(place)}


def sentinel_options(place: SentinelPlace) -> Mapping[str, object]:
    """How to connect to the Sentinels themselves."""
    timeouts = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    if place.sentinel_password is None:
        return timeouts
    return timeouts | {"password": place.sentinel_password}
