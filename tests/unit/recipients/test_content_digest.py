"""The digest of a list: the same in any order, another for any other number or value."""

import random

import orjson
from hypothesis import assume, given
from hypothesis import strategies as st

from dispatcher.recipients.content_digest import ContentDigest

LISTS = st.dictionaries(st.integers(10**9, 10**15), st.text(max_size=8), max_size=12)


def digest(people):
    found = ContentDigest()
    for msisdn, value in people:
        found.msisdns.add(msisdn)
        found.add_values(msisdn, orjson.dumps([value]))
    return found.hexdigest()


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(people, rng):
    shuffled = list(people.items())
    rng.shuffle(shuffled)
    assert digest(shuffled) == digest(people.items())


@given(LISTS, LISTS)
def test_other_lists_have_another_digest(one, other):
    assume(one != other)
    assert digest(one.items()) != digest(other.items())


def test_swapped_and_shifted_values_have_another_digest():
    numbers = range(919_800_000_000, 919_800_010_000)
    names = [f"name {n % 97}" for n in range(10_000)]
    straight = digest(zip(numbers, names, strict=True))
    rng = random.Random(5)
    for _ in range(8):
        mixed = names.copy()
        one, other = rng.sample(range(10_000), 2)
        mixed[one], mixed[other] = mixed[other], mixed[one]
        assert (digest(zip(numbers, mixed, strict=True)) == straight) is (mixed == names)
    assert digest(zip(numbers, names[1:] + names[:1], strict=True)) != straight
