"""The registry of simulated providers: a provider's name → the family that plays it."""

from types import MappingProxyType
from typing import Final

from dispatcher.simulator.families.aoc_portal import AocPortal
from dispatcher.simulator.families.base import Family
from dispatcher.simulator.families.thesmspoint import TheSmsPoint
from dispatcher.simulator.families.ultimate_sms import SmsNoc, StandingTech, UltimateSms
from dispatcher.simulator.families.voip_communications import VoipCommunications

FAMILIES: Final = MappingProxyType[str, type[Family]](
    {
        "thesmspoint": TheSmsPoint,
        "smsnoc": SmsNoc,
        "standingtech": StandingTech,
        "ultimate_sms": UltimateSms,
        "voip_communications": VoipCommunications,
        "aoc_portal": AocPortal,
    }
)
