"""When a worker releases: often enough that no slot stays free, not after every batch."""

from math import inf

from workers.release_clock import ReleaseClock


def test_with_few_slots_every_batch_that_ends_releases():
    clock = ReleaseClock()
    for _ in range(4):
        clock.note_claimed("main")
    for _ in range(4):
        assert clock.free_slots("main", 1, 4)
        clock.start_release("main")


def test_with_many_slots_an_eighth_is_gathered_and_the_last_batch_releases_anyway():
    clock = ReleaseClock()
    for _ in range(6):
        clock.note_claimed("main")
    ended = []
    for _ in range(6):
        ended.append(is_due := clock.free_slots("main", 1, 32))
        if is_due:
            clock.start_release("main")
    assert ended == [False, False, False, True, False, True]


def test_a_release_that_waits_serves_every_batch_that_ends_until_it_starts():
    clock = ReleaseClock()
    for _ in range(4):
        clock.note_claimed("main")
    assert clock.free_slots("main", 1, 4)
    assert not clock.free_slots("main", 1, 4)
    clock.start_release("main")
    assert clock.free_slots("main", 1, 4)


def test_a_batch_that_was_not_sent_is_released_again_at_once_and_accounts_are_apart():
    clock = ReleaseClock()
    for account in ("main", "main", "other"):
        clock.note_claimed(account)
    assert clock.free_slots("main", inf, 100)
    assert clock.free_slots("other", 1, 100)
