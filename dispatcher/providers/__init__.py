"""The registry of provider adapters: the only place that knows them by name.

An adapter is imported when it is asked for, and no other.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dispatcher.errors import ConfigError

if TYPE_CHECKING:
    from dispatcher.providers.base import Provider

#: Provider name → `module:class` in this package.
_ADAPTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "thesmspoint": "thesmspoint.adapter:TheSMSPoint",
        "smsnoc": "ultimate_sms.adapter:SMSNOC",
        "standingtech": "ultimate_sms.adapter:StandingTech",
        "ultimate_sms": "ultimate_sms.adapter:UltimateSMS",
        "voip_communications": "voip_communications.adapter:VoipCommunications",
        "aoc_portal": "aoc_portal:AOCPortal",
    }
)


def provider_names() -> tuple[str, ...]:
    """The names that `provider_class` has an adapter for."""
    return tuple(_ADAPTERS)


def provider_class(name: str) -> "type[Provider]":
    """The adapter of that name, imported now.

    Raises ConfigError with the nearest right name.
    """
    try:
        module, _, class_name = _ADAPTERS[name].partition(":")
    except KeyError:
        near = get_close_matches(name.lower(), _ADAPTERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(_ADAPTERS)}"
        raise ConfigError(f"there is no provider {name!r}", hint) from None
    adapter: type[Provider] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return adapter
