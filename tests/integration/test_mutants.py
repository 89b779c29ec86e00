"""The short edition of `make mutants`: one mutant of each operator, which its tests must notice."""

import pytest

from tests.mutants import chosen
from tests.mutants.operators import OPERATORS
from tests.mutants.reach import Reach, Users
from tests.mutants.trial import killer_in, open_benches, try_mutant

#: By operator: a mutant, and a file whose tests notice it.
KNOWN = {
    "comparison": (
        "dispatcher/policy/fair_queue.py:Budget.is_spent: self.messages_left <= 0",
        "tests/unit/policy/test_fair_queue.py",
    ),
    "negation": (
        "dispatcher/policy/verdict.py:judge_answer: not found.unsent => (found.unsent)",
        "tests/unit/policy/test_verdict.py",
    ),
    "and-or": (
        "dispatcher/policy/rebatching.py:_why_unsendable: limits.max_parts is not None ",
        "tests/unit/policy/test_rebatching.py",
    ),
    "clause": (
        "dispatcher/policy/breaker.py:next_state: health.breaker is not None and ",
        "tests/unit/policy/test_breaker.py",
    ),
    "where": (
        "dispatcher/store/batches.py:(module): (BATCH.c.id == bindparam(\"ticket\")",
        "tests/integration/store/test_batches.py",
    ),
    "bound": (
        "dispatcher/policy/rebatching.py:split_waiting_ends: span.last + 1 => (span.last)",
        "tests/unit/policy/test_rebatching.py",
    ),
    "constant": (
        "dispatcher/policy/verdict.py:judge_answer: AttemptOutcome.DOUBTFUL => ",
        "tests/unit/policy/test_verdict.py",
    ),
    "guard": (
        "dispatcher/policy/rebatching.py:split_waiting_ends: if not settled: return [span], None",
        "tests/unit/policy/test_rebatching.py",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    """A copy of the tree with a warm process; without PostgreSQL, for speed."""
    with open_benches(1, with_postgres=False) as (bench,):
        yield bench


def mutant_of(operator, start):
    """The first mutant of an operator whose key starts so."""
    return next(
        mutant
        for mutant in chosen.all_mutants()
        if mutant.operator == operator and mutant.key.startswith(start)
    )


def test_every_operator_is_here():
    assert set(KNOWN) == set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_mutant_of_each_operator_is_noticed(bench, operator):
    start, path = KNOWN[operator]
    with bench.mutated(mutant_of(operator, start)):
        seen = bench.run([path], limit_s=60)
    assert killer_in(seen).startswith(path)
    assert "error" not in killer_in(seen)


def test_tests_pass_once_the_mutant_is_gone_and_their_reach_is_measured(bench):
    seen = bench.run(["tests/unit/policy/test_verdict.py"], limit_s=60, traces=True)
    assert killer_in(seen) is None, seen["log"]
    reach = Reach()
    reach.add(seen)
    assert reach.tests["dispatcher/policy/verdict.py:judge_answer"]


def test_a_mutant_that_no_test_asked_runs_into_survives(bench):
    mutant = mutant_of("comparison", KNOWN["comparison"][0])
    trial = try_mutant(bench, mutant, Reach(), Users(chosen.ROOT, []), goes_wider=False)
    assert (trial.killed_by, trial.tests) == (None, 0)


def test_a_test_that_never_ends_kills(bench):
    mutant = mutant_of("guard", KNOWN["guard"][0])
    with bench.mutated(mutant):
        seen = bench.run(["tests/unit/policy"], limit_s=0.01)
    assert killer_in(seen) == "its tests do not end"
