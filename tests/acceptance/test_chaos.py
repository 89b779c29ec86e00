"""The short edition of `make chaos`: processes die for some seconds, and nobody is hurt."""

import pytest

from tests.chaos.figures import Plan
from tests.chaos.scene import run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("store", "provider"),
    [
        ("sqlite", "smsnoc"),
        pytest.param("postgres", "thesmspoint", marks=pytest.mark.postgres),
    ],
)
def test_nobody_twice_and_nobody_lost_while_processes_die(store, provider, request):
    if store == "postgres":
        request.getfixturevalue("postgres_server")  # says so where there is none
    figures = run(Plan(seconds=8, store=store, provider=provider, seed=4, size=0.3))
    assert figures.findings.violations == [], f"{figures}; see {figures.folder}"
    assert figures.kills
    assert figures.findings.accepted
