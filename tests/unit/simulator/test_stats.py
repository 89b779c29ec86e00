"""The simulator's counts stay bounded, and still say which provider was asked."""

from dispatcher.simulator.stats import Stats


def test_paths_beyond_the_limit_are_counted_by_provider_and_bounded():
    stats = Stats()
    for number in range(1000):
        stats.count_arrival(f"/smsnoc/api/v3/sms/{number}", number, number)
    stats.count_arrival("/standingtech/api/v3/sms", 1.0, 1.0)
    requests = stats.as_dict()["requests"]
    assert requests["/smsnoc/other"]["count"] == 800
    assert requests["/standingtech/other"]["count"] == 1
    for number in range(1000):
        stats.count_arrival(f"/{number}/sms", number, number)
    requests = stats.as_dict()["requests"]
    assert len(requests) <= 401
    assert sum(path["count"] for path in requests.values()) == 2001
    assert requests["other"]["count"] > 0
