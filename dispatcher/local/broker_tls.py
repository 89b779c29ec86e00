"""TLS to the broker: its certificate is always verified, unless the URL switches that off.

Celery verifies nothing by default, and would send the password to any server.
"""

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote

from dispatcher.config.sentinel_urls import TLS_SCHEME
from dispatcher.errors import BrokerError

TLS_SCHEMES: Final = ("rediss://", TLS_SCHEME)
_VERIFY: Final = "ssl_cert_reqs"
_HOSTNAME: Final = "ssl_check_hostname"
_AUTHORITY: Final = "ssl_ca_certs"
_REQUIREMENTS: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def add_tls_options(url: str, ca_file: Path | None) -> str:
    """A rediss:// or sentinels:// URL that asks Celery, Flower and redis-py for verification.

    Others are unchanged. An option of the URL itself is kept. Raises BrokerError where `ca_file`
    has no certificates.
    """
    if not url.startswith(TLS_SCHEMES):
        return url
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    options.setdefault(_VERIFY, "required")
    options.setdefault(_HOSTNAME, "true")
    if ca_file is not None:
        options.setdefault(_AUTHORITY, str(ca_file))
    if _AUTHORITY in options:
        _check_authority(options[_AUTHORITY])
    return f"{place}?{'&'.join(f'{name}={quote(value)}' for name, value in options.items())}"


def celery_tls_options(url: str) -> dict[str, object] | None:
    """The options of a URL from `add_tls_options` as Celery's `broker_use_ssl`; None without TLS.

    Flower and kombu drop the options of a URL in some places, but keep these.
    """
    if not url.startswith(TLS_SCHEMES):
        return None
    given = parse_qsl(url.partition("?")[2])
    options = {name: value for name, value in given if name.startswith("ssl_")}
    read = {
        _VERIFY: _REQUIREMENTS[options[_VERIFY]], _HOSTNAME: options[_HOSTNAME] == "true"
    }  # fmt: skip
    return {**options, **read}


def find_tls_problem(url: str) -> str | None:
    """A sentence for `doctor` about a URL with TLS that switches verification off; else None."""
    if not url.startswith(TLS_SCHEMES):
        return None
    options = dict(parse_qsl(url.partition("?")[2]))
    if options.get(_VERIFY) == "none":
        off = f"{_VERIFY}=none"
    elif options.get(_HOSTNAME) == "false":
        off = f"{_HOSTNAME}=false"
    else:
        return None
    return (
        f"`{off}` in `url` under [broker]: any server between here and Redis can read the password "
        "and the queues; remove it, and name your own authority's certificate as `ca_file`"
    )


def _check_authority(file: str) -> None:
    hint = "`ca_file` under [broker] names a file of certificates in PEM format"
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise BrokerError(f"{file} holds no certificate that can be read", hint) from None
    except OSError as error:
        raise BrokerError(f"{file} cannot be read: {error.strerror}", hint) from None
