"""Doubt in words: how many, and what becomes of them."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from dispatcher.cli.doubt import doubt_in_words

SINCE = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
LOOK = datetime(2026, 5, 4, 10, 6, tzinfo=UTC)
LIST = (
    "the provider's list of accepted messages is read at 2026-05-04 10:06:00 UTC "
    "(read to its end 0 times so far)"
)


def view(count, *, next_at=LOOK, rule="hold"):
    return SimpleNamespace(
        counts={"in_doubt": count},
        doubt_since=SINCE,
        doubt_next_at=next_at,
        doubt_looks=0,
        campaign=SimpleNamespace(id=7, on_doubt=rule),
    )


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (
            1,
            "1 recipient is IN DOUBT since 2026-05-04 10:00:00 UTC: the provider may have accepted",
        ),
        (2, "2 recipients are IN DOUBT since 2026-05-04 10:00:00 UTC: the provider may have"),
    ],
)
def test_one_is_counted_in_the_singular(count, words):
    assert doubt_in_words(view(count), has_list=True).startswith(words)


@pytest.mark.parametrize(
    ("shown", "has_list", "words"),
    [
        (view(1), True, f"until then: {LIST}."),
        (
            view(1, rule="drop"),
            True,
            f"{LIST}; the campaign's rule (--on-doubt drop) is applied to those not",
        ),
        (view(1, rule="drop"), False, "has no list of accepted messages, so the campaign's rule"),
        (
            view(1, next_at=None),
            True,
            "automatically: look at the provider's panel, then run `dispatcher",
        ),
    ],
)
def test_doubt_is_shown_with_what_happens_next(shown, has_list, words):
    assert words in doubt_in_words(shown, has_list=has_list)


def test_without_doubt_nothing_is_shown():
    assert doubt_in_words(view(0), has_list=True) is None
