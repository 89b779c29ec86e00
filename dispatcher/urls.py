"""Checks the URLs of store, broker and providers, and hides their secrets.

No message quotes a URL: one with unescaped characters may have its password at the wrong place.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ESCAPES: Final = (
    "in a user or password write @ as %40, / as %2F, # as %23, ? as %3F, [ as %5B and % as %25, "
    "or write it as $NAME, which is escaped for you"
)
_STORE_SCHEMES: Final = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_BROKER_SCHEMES: Final = ("redis", "rediss", "redis+socket", "unix")
_LARGEST_PORT: Final = 65_535
#: Options that Celery and redis-py both understand.
_TLS_OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
#: The values that Celery and redis-py read alike.
_TLS_VALUES: Final = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}
#: The options of servers behind Sentinels, without and with TLS.
_SENTINEL_OPTIONS: Final = {
    "sentinel": frozenset({"master_name", "sentinel_password"}),
    "sentinels": frozenset({"master_name", "sentinel_password"}) | _TLS_OPTIONS,
}
_SOCKET_OPTIONS: Final = {"unix": frozenset({"db"}), "redis+socket": frozenset({"virtual_host"})}
#: Of Python's sqlite3 and of SQLite's own URIs.
_SQLITE_OPTIONS: Final = frozenset(
    {
        "cache", "cached_statements", "check_same_thread", "detect_types", "immutable",
        "isolation_level", "mode", "nolock", "timeout", "uri", "vfs",
    }
)  # fmt: skip
#: libpq's connection parameters that are safe to show ("Parameter Key Words", PostgreSQL 17).
_SHOWN_OPTIONS: Final = frozenset(
    {
        "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
        "gssencmode", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle",
        "keepalives_interval", "load_balance_hosts", "port", "sslcert", "sslcrl", "sslmode",
        "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout",
        "user",
    }
)  # fmt: skip
_HIDDEN_OPTIONS: Final = frozenset(
    {
        "fallback_application_name", "gssdelegation", "gsslib", "krbsrvname", "options",
        "passfile", "password", "prepare_threshold", "require_auth", "requirepeer",
        "service", "servicefile", "sslcertmode", "sslcompression", "sslcrldir", "sslkey",
        "sslpassword", "ssl_max_protocol_version", "ssl_min_protocol_version",
    }
)  # fmt: skip
_POSTGRES_OPTIONS: Final = _SHOWN_OPTIONS | _HIDDEN_OPTIONS


@dataclass(frozen=True, slots=True)
class _Parts:
    """A server's URL in parts; `port` and `query` are checked."""

    host: str
    path: str
    query: tuple[tuple[str, str], ...]
    has_password: bool


def check_store_url(url: str) -> None:
    """Raise ValueError, with a sentence for a person, unless the store can be opened by `url`."""
    scheme, mark, rest = url.partition("://")
    if scheme not in _STORE_SCHEMES or not mark:
        raise ValueError("must be sqlite:///FILE or postgresql://USER:$PGPASSWORD@HOST/NAME")
    if is_sqlite_url(url):
        _check_sqlite(url)
        return
    parts = _split_server_url(rest)
    if "/" in parts.path:
        _raise_unescaped("the name of the database has a `/`")
    _check_options(parts, _POSTGRES_OPTIONS, "those of PostgreSQL, such as sslmode")


def check_broker_url(url: str) -> None:
    """Raise ValueError, with a sentence for a person, unless `url` names a Redis server."""
    scheme, mark, rest = url.partition("://")
    if scheme in _SENTINEL_OPTIONS:
        _check_sentinels(rest, _SENTINEL_OPTIONS[scheme])
        return
    if scheme not in _BROKER_SCHEMES or not mark:
        raise ValueError(
            "must be embedded, redis://HOST:6379/0, rediss://…, unix:///SOCKET, or "
            "sentinel://HOST:26379;HOST:26379/0?master_name=NAME, or sentinels://… with TLS"
        )
    if scheme in _SOCKET_OPTIONS:
        path, _, query = rest.partition("?")
        _check_printable(url)
        if not path.startswith("/") or "#" in rest:
            raise ValueError("must name a socket by its whole path, as in unix:///run/redis.sock")
        parts = _Parts("", path, _read_query(query), has_password=False)
        _check_options(parts, _SOCKET_OPTIONS[scheme])
        return
    parts = _split_server_url(rest)
    if parts.path and not re.fullmatch(r"\d{1,5}", parts.path, re.ASCII):
        raise ValueError("must end in the number of a database, as in redis://HOST:6379/0")
    _check_broker_options(parts, _TLS_OPTIONS if scheme == "rediss" else frozenset[str]())


def check_base_url(url: str) -> None:
    """Raise ValueError, with a sentence for a person, unless `url` can be a provider's address."""
    _check_printable(url)
    if " " in url:
        raise ValueError("must not contain spaces")
    if any(char in url for char in "@?#\\"):
        raise ValueError("must not contain a user, a password, a query or a fragment (@ ? # \\)")
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", "https"}:
        raise ValueError("must be a URL such as https://sms.example.com/api")
    try:
        host = _split_server_url(rest).host
    except ValueError:
        host = ""
    if not host:
        raise ValueError("must be a URL such as https://sms.example.com/api or …:8443/api")
    if scheme == "http" and host not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError("plain http is allowed to this machine only; use https")


def check_webhook_url(url: str) -> None:
    """Raise ValueError, with a sentence for a person, unless `url` can get notices.

    As a provider's address, but with a path and a query, in which some services have their key.
    """
    check_base_url(url.partition("?")[0])
    _check_printable(url)
    if " " in url or "#" in url:
        raise ValueError("must not contain spaces or a fragment (#)")


def check_proxy_url(url: str) -> None:
    """Raise ValueError, with a sentence for a person, unless `url` can be an HTTP proxy's."""
    scheme, mark, rest = url.partition("://")
    if scheme != "http" or not mark:
        raise ValueError("must be http://HOST:PORT or http://USER:$PASSWORD@HOST:PORT")
    parts = _split_server_url(rest.removesuffix("/"))
    if not parts.host or parts.path or parts.query:
        raise ValueError("must be http://HOST:PORT, without a path or a query")


def is_sqlite_url(url: str) -> bool:
    """Whether a store URL names an SQLite file."""
    return url.startswith(("sqlite:", "sqlite+"))


def split_sqlite_url(url: str) -> tuple[str, str]:
    """The path of an SQLite URL as it is written, and its options; both may hold `%XX`.

    A `?` and what follows it is part of the path unless it is a list of SQLite's options.
    """
    rest = url.partition("://")[2].removeprefix("/")
    path, mark, query = rest.rpartition("?")
    names = [pair.partition("=")[0] for pair in query.split("&")]
    return (path, query) if mark and _SQLITE_OPTIONS.issuperset(names) else (rest, "")


def decode_path(written: str) -> str:
    """The path with each `%XX` decoded, or as it is written if that would not be text."""
    try:
        return unquote(written, errors="strict")
    except UnicodeDecodeError:
        return written


def sqlite_url(path: str, options: str = "") -> str:
    """The URL of an SQLite file with this path; `split_sqlite_url` gives `options`."""
    return f"sqlite:///{quote(path)}{'?' if options else ''}{options}"


def has_password(url: str) -> bool:
    """Whether a checked URL of store or broker holds a password."""
    scheme, _, rest = url.partition("://")
    if is_sqlite_url(url) or scheme in _SOCKET_OPTIONS or not rest:
        return False
    if scheme in _SENTINEL_OPTIONS:
        first, _, others = rest.partition(";")
        options = dict(_read_query((others or first).partition("?")[2]))
        return "sentinel_password" in options or _split_server_url(first).has_password
    return _split_server_url(rest).has_password


def find_passwords(url: str) -> frozenset[str]:
    """The passwords that a URL of any kind holds, as they are written and as they are meant."""
    written = re.findall(r"//[^/@?#]*?:([^/@?#]+)@", url)
    written += re.findall(r"[?&][a-z_]*password=([^&#;]+)", url)
    return frozenset({*written, *map(unquote, written)})


def with_password(url: str, password: str) -> str:
    """The URL of a server with a password, which is escaped.

    Raises ValueError, with a sentence for a person, for another URL, and one that has a password.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or is_sqlite_url(url) or scheme in _SOCKET_OPTIONS:
        raise ValueError("is used with a `url` that names a server only")
    userinfo, at, address = rest.rpartition("@")
    if ":" in userinfo:
        raise ValueError("the `url` has a password as well: give one of them")
    return f"{scheme}://{userinfo if at else ''}:{quote(password, safe='')}@{address}"


def is_shown_option(name: str) -> bool:
    """Whether the value of this PostgreSQL option is surely not a secret."""
    return name in _SHOWN_OPTIONS


def _check_sentinels(rest: str, allowed: frozenset[str]) -> None:
    first, *others = rest.split(";")
    last = _split_server_url(others[-1] if others else first)
    hosts = [_split_server_url(first).host, *(_split_server_url(one).host for one in others)]
    has_stray = any("@" in one for one in others) or any(
        "/" in one for one in [first, *others][:-1]
    )
    if not all(hosts) or has_stray:
        raise ValueError(
            "must name each Sentinel by its host, a password before the first one only, and a "
            "database after the last one only"
        )
    if last.path and not re.fullmatch(r"\d{1,5}", last.path, re.ASCII):
        raise ValueError("must end in the number of a database, as in …:26379/0?master_name=NAME")
    _check_broker_options(last, allowed)
    if "master_name" not in dict(last.query):
        raise ValueError("needs the name that the Sentinels give the server: ?master_name=NAME")


def _check_broker_options(parts: _Parts, allowed: frozenset[str]) -> None:
    _check_options(parts, allowed)
    for name, value in parts.query:
        if value not in _TLS_VALUES.get(name, {value}):
            raise ValueError(f"`{name}` must be {' or '.join(_TLS_VALUES[name])}")


def _check_sqlite(url: str) -> None:
    path, options = split_sqlite_url(url)
    if not decode_path(path).isprintable() or not options.isprintable():
        raise ValueError("must not contain line breaks, tabs or other invisible characters")
    if path in {"", "/", ":memory:"}:
        raise ValueError("SQLite needs a file, as in sqlite:///dispatcher.db")


def _split_server_url(rest: str) -> _Parts:
    """Split what follows `://`. Raises ValueError where characters are not escaped."""
    _check_printable(rest)
    if "#" in rest:
        _raise_unescaped("it has a `#`")
    before_query, _, query = rest.partition("?")
    authority, _, path = before_query.partition("/")
    userinfo, at, address = authority.rpartition("@")
    if "@" in userinfo or "@" in path or ("@" in query and not at):
        _raise_unescaped("it has too many `@`")
    if set("[]") & set(userinfo) or " " in address or " " in path:
        _raise_unescaped("it has a space or a bracket")
    host, port = _split_address(address)
    if port and not (port.isascii() and port.isdecimal() and int(port) <= _LARGEST_PORT):
        _raise_unescaped("its port is not a number up to 65535")
    pairs = _read_query(query)
    password = userinfo.partition(":")[2] or dict(pairs).get("password")
    return _Parts(host, path, pairs, has_password=bool(password))


def _split_address(address: str) -> tuple[str, str]:
    try:
        host = urlsplit(f"//{address}").hostname or ""
    except ValueError:
        _raise_unescaped("its host cannot be read")
    return host, address.rpartition("]")[2].partition(":")[2]


def _read_query(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, strict_parsing=True)) if query else ()
    except ValueError:
        _raise_unescaped("what follows its `?` is not a list of options")


def _check_options(parts: _Parts, allowed: Collection[str], known: str | None = None) -> None:
    if any(name not in allowed for name, _ in parts.query):
        known = known or ", ".join(sorted(allowed)) or "none"
        raise ValueError(
            f"has an unknown option after the `?` (known here: {known}); if it is not an option, "
            f"{ESCAPES}"
        )


def _check_printable(text: str) -> None:
    if not text.isprintable():
        raise ValueError("must not contain line breaks, tabs or other invisible characters")


def _raise_unescaped(what: str) -> NoReturn:
    raise ValueError(f"cannot be read as a URL: {what}; {ESCAPES}")
