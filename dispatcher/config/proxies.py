"""The HTTP proxy of an account: the configured one, or the environment's where the key says so."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from dispatcher.errors import ConfigError
from dispatcher.providers.shared.settings import ENVIRONMENT, ProviderSettings
from dispatcher.urls import check_proxy_url

#: For https requests, in the order in which they are looked for.
PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTION_VARIABLES: Final = ("no_proxy", "NO_PROXY")


def resolve_proxy(
    name: str, settings: ProviderSettings, environ: Mapping[str, str]
) -> ProviderSettings:
    """The settings with the proxy to use, in place of `environment`.

    Raises ConfigError for a variable that names no HTTP proxy.
    """
    if settings.proxy != ENVIRONMENT:
        return settings
    variable, value = find_proxy_variable(environ)
    host = urlsplit(settings.base_url).hostname or ""
    exceptions = next((environ[key] for key in _EXCEPTION_VARIABLES if environ.get(key)), "")
    is_plain = settings.base_url.startswith("http://")  # which a proxy could read
    if not value or is_plain or _is_excepted(host, exceptions):
        return _with_proxy(settings, None, ENVIRONMENT)
    url = value if "://" in value else f"http://{value}"
    try:
        check_proxy_url(url)
    except ValueError as error:
        raise ConfigError(
            f"${variable}: {error}",
            f"correct it, or write the proxy of the account as `proxy` under [accounts.{name}]",
        ) from None
    return _with_proxy(settings, url, f"${variable}")


def _is_excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names the host: itself, a domain that it is in, or `*`."""
    names = [name.strip().lower().lstrip(".") for name in exceptions.split(",")]
    return any(name in {"*", host} or host.endswith(f".{name}") for name in names if name)


def _with_proxy(settings: ProviderSettings, url: str | None, source: str) -> ProviderSettings:
    resolved = settings.model_copy(update={"proxy": url})
    resolved._proxy_source = source
    return resolved


def find_proxy_variable(environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names a proxy for https, and its value; empty texts if there is none."""
    return next(((key, environ[key]) for key in PROXY_VARIABLES if environ.get(key)), ("", ""))


def describe_proxy(settings: ProviderSettings, environ: Mapping[str, str]) -> str | None:
    """A sentence for `doctor` about the requests of an account; None without any proxy."""
    if settings.proxy is not None:
        place = settings.proxy.rpartition("@")[2].removeprefix("http://").rstrip("/")
        return f"its requests go through the proxy {place} (from {settings.proxy_source})"
    variable, _value = find_proxy_variable(environ)
    if not variable:
        return None
    if settings.proxy_source == ENVIRONMENT:
        return f"its requests use no proxy: the environment names none for {settings.base_url}"
    return (
        f"its requests do not use the proxy of ${variable}; to use it, write "
        f'`proxy = "{ENVIRONMENT}"` under this account'
    )
