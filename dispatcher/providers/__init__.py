"""The registry of provider adapters: the only place that knows them by name.

An adapter is imported when it is asked for, and no other.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dispatcher.errors import ConfigError, NotAvailableYet

if TYPE_CHECKING:
    from dispatcher.providers.base import Provider

#: Provider name → `module:class` beside this file.
_ADAPTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "thesmspoint": "thesmspoint:TheSMSPoint",
        "smsnoc": "ultimate_sms:SMSNOC",
        "standingtech": "ultimate_sms:StandingTech",
        "ultimate_sms": "ultimate_sms:UltimateSMS",
    }
)
#: Announced in the documentation, not built yet: refused by name, never taken for a misspelling.
_PLANNED: Final = (
    "voip_communications",
    "aoc_portal",
)


def provider_names() -> tuple[str, ...]:
    """The names that `provider_class` has an adapter for."""
    return tuple(_ADAPTERS)


def provider_class(name: str) -> "type[Provider]":
    """The adapter of that name, imported now.

    Raises ConfigError with the nearest right name, NotAvailableYet for one that is still to come.
    """
    if name in _PLANNED:
        raise NotAvailableYet(
            f"the provider {name} is not available yet",
            f"available: {', '.join(_ADAPTERS)}",
        )
    try:
        module, _, class_name = _ADAPTERS[name].partition(":")
    except KeyError:
        known = (*_ADAPTERS, *_PLANNED)
        near = get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(known)}"
        raise ConfigError(f"there is no provider {name!r}", hint) from None
    adapter: type[Provider] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return adapter
