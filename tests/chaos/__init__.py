"""The chaos run: real processes that die while a campaign leaves, and a judge of what came of it.

`python -m tests.chaos --help`; not collected by pytest, whose short edition is
`tests/acceptance/test_chaos.py`.
"""
