"""Whether a batch of a bundle is still its worker's: the fence and the state say so together."""

from types import SimpleNamespace

import pytest

from dispatcher.status import BatchState
from dispatcher.store.locks import BatchHold
from workers.batch.bundle import _holds_claim


@pytest.mark.parametrize(
    ("fence", "state", "is_held"),
    [
        (4, BatchState.SUBMITTING, True),
        (5, BatchState.SUBMITTING, False),  # another worker's by now
        (4, BatchState.SETTLED, False),
        (5, BatchState.PENDING, False),
    ],
)
def test_a_claim_is_held_by_its_fence_while_it_is_submitted(fence, state, is_held):
    claim = SimpleNamespace(id=7, fence=4)
    hold = BatchHold(fence=fence, state=state, pending=1, submitted=0)
    assert _holds_claim(claim, {7: hold}) is is_held
