"""The registry of simulated providers: a provider's name → the family that plays it."""

from types import MappingProxyType
from typing import Final

from dispatcher.simulator.families.base import Family
from dispatcher.simulator.families.thesmspoint import TheSmsPoint

FAMILIES: Final = MappingProxyType[str, type[Family]]({"thesmspoint": TheSmsPoint})
