"""When a worker releases: often enough that no place stays free, not once for every batch."""

from math import inf

from workers.batch.self_clock import ReleaseClock


def test_where_places_are_few_every_batch_that_ends_releases():
    releases = ReleaseClock()
    for _ in range(4):
        releases.note_claimed("main")
    for _ in range(4):
        assert releases.free_slots("main", 1, 4)
        releases.start_release("main")


def test_where_they_are_many_an_eighth_is_gathered_and_the_last_one_releases_anyway():
    releases = ReleaseClock()
    for _ in range(6):
        releases.note_claimed("main")
    ended = []
    for _ in range(6):
        ended.append(is_due := releases.free_slots("main", 1, 32))
        if is_due:
            releases.start_release("main")
    assert ended == [False, False, False, True, False, True]


def test_one_that_waits_for_its_turn_serves_all_who_end_until_then():
    releases = ReleaseClock()
    for _ in range(4):
        releases.note_claimed("main")
    assert releases.free_slots("main", 1, 4)
    assert not releases.free_slots("main", 1, 4)
    releases.start_release("main")
    assert releases.free_slots("main", 1, 4)


def test_a_batch_that_did_not_leave_is_released_again_at_once_and_accounts_are_apart():
    releases = ReleaseClock()
    for account in ("main", "main", "other"):
        releases.note_claimed(account)
    assert releases.free_slots("main", inf, 100)
    assert releases.free_slots("other", 1, 100)
