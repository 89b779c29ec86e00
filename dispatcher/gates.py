"""Gates: may a campaign's batch leave now, until when, and if not, when it may next.

Account windows (law, contract) and campaign windows are always intersected; an expiry closes for
good.
"""

from datetime import datetime

from dispatcher.schedule import Gate
from dispatcher.store.sets import AnyRow


def gate(campaign: AnyRow, now: datetime) -> Gate:
    """The gate of a campaign's batches."""
    if campaign.expire_at is not None and campaign.expire_at <= now:
        return Gate(is_open=False)
    return Gate(is_open=True, until=campaign.expire_at)
