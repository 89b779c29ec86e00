"""Workers that the others have known for long."""

from datetime import timedelta

from dispatcher.outbound.departure import boottime_s
from dispatcher.outbound.presence import Presence


def known_worker(name="this"):
    """A worker whose heartbeats have been in the store for long."""
    presence = Presence(name, timedelta(hours=1))
    presence.note_heartbeat(boottime_s() - 60)
    return presence
