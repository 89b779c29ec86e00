"""What a provider's arrivals say of a rate."""

from collections.abc import Iterable


def at_most_in_a_second(arrivals: Iterable[tuple[float, float]]) -> float:
    """The largest sum of what arrived in any half-open second; `arrivals` are (time, amount)."""
    given = sorted(arrivals)
    most = held = 0.0
    first = 0
    for at, amount in given:
        held += amount
        while given[first][0] <= at - 1:
            held -= given[first][1]
            first += 1
        most = max(most, held)
    return most
