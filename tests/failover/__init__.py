"""Failovers in mid-campaign: real servers, of which the primary gets `kill -9`, and a judge.

`python -m tests.failover --help`; not collected by pytest.
"""
