"""When accepted messages are polled: by what their provider offers and their account's settings."""

from datetime import UTC, datetime

from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.store.answers import PollPlan
from dispatcher.store.settlement import PollSchedule


def make_poll_schedule(provider: Provider, sent_at: datetime | None = None) -> PollSchedule | None:
    """When an accepted request is polled; None if the provider has no status call.

    `sent_at`: when the provider itself sends the messages, if it was asked to send them later.
    """
    if provider.capabilities.delivery_status is StatusLookup.NONE:
        return None
    settings = provider.settings
    until_sent_s = 0.0
    if sent_at is not None:
        until_sent_s = max(0.0, (sent_at - datetime.now(UTC)).total_seconds())
    return PollSchedule(
        first_s=until_sent_s + settings.poll_first_s,
        for_s=until_sent_s + settings.validity_hours * 3600,
    )


def make_poll_plan(provider: Provider, now: datetime) -> PollPlan | None:
    """When a request that is accepted now is polled; None if the provider has no status call."""
    schedule = make_poll_schedule(provider)
    return None if schedule is None else schedule.plan_from(now)
