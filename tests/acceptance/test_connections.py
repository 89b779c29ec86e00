"""Single requests, a hundred at a time: connections are kept, and no more of them than allowed."""

import pytest

from tests.benchmarks.connections import IN_FLIGHT, measure

pytestmark = pytest.mark.acceptance


def test_personal_texts_share_the_connections_that_the_account_may_have_in_flight():
    seen = measure(500)

    assert (seen.accepted, seen.requests, seen.disagreements) == (500, 500, 0)
    assert seen.max_requests_at_once > IN_FLIGHT / 5, "nothing was measured: one by one"
    # One more: the control call that switched the fault on.
    assert seen.max_connections <= IN_FLIGHT + 1
    assert seen.connections <= IN_FLIGHT, "each was kept"
