"""`python -m workers`, which `dispatcher up` starts its workers and beat with."""

import sys

import pytest

from workers.__main__ import run_command


@pytest.mark.parametrize("argv", [[], ["flower"], ["--help"]])
def test_what_it_is_not_for_is_refused_in_a_sentence(argv, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["workers", *argv])
    with pytest.raises(SystemExit, match=r"^Usage: python -m workers worker \| beat \[OPTIONS\]$"):
        run_command()
