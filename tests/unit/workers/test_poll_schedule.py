"""When an accepted request is polled."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dispatcher.providers.base import StatusLookup
from workers.batch.poll_schedule import make_poll_plan, make_poll_schedule


def provider(lookup=StatusLookup.BY_JOB):
    return SimpleNamespace(
        capabilities=SimpleNamespace(delivery_status=lookup),
        settings=SimpleNamespace(poll_first_s=30, validity_hours=2),
    )


@pytest.mark.parametrize(("sent_in_s", "waits_s"), [(None, 0), (-600, 0), (600, 600)])
def test_polls_begin_once_the_provider_has_sent(sent_in_s, waits_s):
    sent_at = None if sent_in_s is None else datetime.now(UTC) + timedelta(seconds=sent_in_s)
    schedule = make_poll_schedule(provider(), sent_at)
    assert waits_s + 30 - 60 < schedule.first_s <= waits_s + 30
    assert schedule.for_s - schedule.first_s == 7200 - 30
    assert schedule.first_s >= 30


def test_a_provider_without_a_status_call_is_not_polled():
    now = datetime.now(UTC)
    assert make_poll_plan(provider(StatusLookup.NONE), now) is None
    assert make_poll_plan(provider(), now).first_at == now + timedelta(seconds=30)
