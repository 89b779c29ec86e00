"""The registry of simulated providers: a provider's name → the family that plays it."""

from types import MappingProxyType
from typing import Final

from dispatcher.simulator.families.aoc_portal import SimulatedAOCPortal
from dispatcher.simulator.families.base import Family
from dispatcher.simulator.families.thesmspoint import SimulatedTheSMSPoint
from dispatcher.simulator.families.ultimate_sms import (
    SimulatedSMSNOC,
    SimulatedStandingTech,
    SimulatedUltimateSMS,
)
from dispatcher.simulator.families.voip_communications import SimulatedVoipCommunications

FAMILIES: Final = MappingProxyType[str, type[Family]](
    {
        "thesmspoint": SimulatedTheSMSPoint,
        "smsnoc": SimulatedSMSNOC,
        "standingtech": SimulatedStandingTech,
        "ultimate_sms": SimulatedUltimateSMS,
        "voip_communications": SimulatedVoipCommunications,
        "aoc_portal": SimulatedAOCPortal,
    }
)
