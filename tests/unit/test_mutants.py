"""The runner of `make mutants`: which mutants it makes, which it tries, and what it counts."""

import ast
from contextlib import nullcontext

import pytest

from tests.mutants import __main__ as command
from tests.mutants import chosen, noting
from tests.mutants.operators import OPERATORS, find_mutants
from tests.mutants.reach import Reach, Users
from tests.mutants.record import Record
from tests.mutants.trial import Trial, killer_in, try_mutant

CASES = [
    ("comparison", "x = a < b", ["(a <= b)"]),
    ("comparison", "x = a == b", ["(a != b)"]),
    ("comparison", "x = a is not None", ["(a is None)"]),
    ("comparison", "x = 0 <= a < n", ["(0 < a < n)", "(0 <= a <= n)"]),
    ("negation", "if a:\n    f()", ["(not a)"]),
    ("negation", "x = not a", ["(a)"]),
    ("negation", "x = [a for a in b if a > c]", ["(not a > c)"]),
    ("and-or", "x = a and b or c", ["((a and b) and c)", "(a or b)"]),
    ("and-or", "x = T.a & T.b", ["((T.a) | (T.b))"]),
    ("clause", "x = a or b or c", ["((a) or (b))", "((a) or (c))", "((b) or (c))"]),
    ("where", "x = select(T).where(a, b)", ["(a)", "(b)"]),
    ("where", "x = q.where(and_(a, b))", ["()", "(a)", "(b)"]),
    ("bound", "x = n + 1", ["(n)"]),
    ("bound", "x = max(1, n)", ["2"]),
    ("constant", "x = f(is_probe=True)", ["False"]),
    ("constant", "x = BatchState.QUEUED", ["BatchState.CLAIMED"]),
    ("constant", "x = min(a, b)", ["max"]),
    ("guard", "def f():\n    if a:\n        return None\n    g()", ["pass"]),
    ("guard", "raise ValueError(not a)", ["pass"]),
]


@pytest.mark.parametrize(("operator", "source", "texts"), CASES)
def test_each_operator_changes_its_kind_of_place(operator, source, texts):
    mutants = find_mutants("a.py", source.encode())
    found = [_shape(mutant.after) for mutant in mutants if mutant.operator == operator]
    assert sorted(found) == sorted(map(_shape, texts))


def _shape(text):
    """The text without brackets that change nothing."""
    return ast.unparse(ast.parse(text))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a: int | None = None) -> int | None: ...",
        "x = f'{a + 1}'",
        "log.warning('text', a and b)",
        "log_event(log, event, 'text', a and b)",
        "x = zip(a, b, strict=True)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "raise AssertionError('never')",
        "Alias: TypeAlias = int | str",
        "Alias = frozenset[int] | Other",
    ],
)
def test_what_decides_nothing_is_left_alone(source):
    assert find_mutants("a.py", source.encode()) == []


def test_a_mutant_is_a_program_and_differs_from_what_it_was():
    for mutant in chosen.choose(chosen.all_mutants(), seed=1, most=200):
        before = (chosen.ROOT / mutant.path).read_bytes()
        after = mutant.apply_to(before)
        assert after != before
        ast.parse(after)


def test_every_module_with_conditions_and_every_operator_has_mutants():
    mutants = chosen.all_mutants()
    assert {mutant.operator for mutant in mutants} == set(OPERATORS)
    assert len(mutants) > 1000
    files = {f"{package}/{name}.py" for package, names in chosen.MODULES.items() for name in names}
    assert {mutant.path for mutant in mutants} == files


def test_the_choice_is_the_same_for_a_seed_and_has_one_of_each_function():
    mutants = chosen.all_mutants()
    first, again = (chosen.choose(mutants, seed=1, most=400) for _ in range(2))
    assert first == again != chosen.choose(mutants, seed=2, most=400)
    assert len(first) == 400
    assert {m.path for m in first} == {m.path for m in mutants}


def test_every_equivalent_mutant_still_is_a_mutant_and_has_a_reason():
    keys = {mutant.key for mutant in chosen.all_mutants()}
    assert {key: reason for key, reason in chosen.equivalents().items() if key not in keys} == {}
    assert all(len(reason) > 20 for reason in chosen.equivalents().values())


def test_the_files_of_wider_tests_exist():
    names = {name for names in chosen.WIDER.values() for name in names}
    assert [n for n in names if not (chosen.ROOT / f"tests/acceptance/{n}.py").exists()] == []


def test_a_constants_tests_are_those_of_the_functions_that_use_it(tmp_path):
    (tmp_path / "a.py").write_text(
        "_ONE = x == 1\n_TWO = f(_ONE)\n\n@cache\ndef made():\n    return 1\n\n"
        "def first():\n    return _TWO\n\ndef second():\n    return made()\n\n"
        "def helper():\n    return 2\n\n@cache\ndef built():\n    return helper()\n\n"
        "def third():\n    return built()\n"
    )
    users = Users(tmp_path, ["a.py"])
    assert users.of("_ONE") == users.of("_TWO") == {"a.py:first"}
    assert users.of("made") == {"a.py:second"}
    assert users.of("first") == set()
    # It runs for the first test only.
    assert users.of("helper") == {"a.py:built", "a.py:third"}


def test_the_fastest_tests_that_run_into_a_mutant_are_asked_first():
    reach = Reach()
    seconds = {"slow": 2.0, "fast": 0.1, "fast[postgres]": 0.05, "other": 0.1}
    touched = {test: ["a.py:g" if test == "other" else "a.py:f"] for test in seconds}
    reach.add({"failed": [], "passed": [*seconds], "seconds": seconds, "touched": touched})
    (mutant, *_) = find_mutants("a.py", b"def f(a):\n    return a == 1\n")
    # When this test was measured, the function was in another file.
    before = {"passed": ["moved"], "seconds": {"moved": 0.3}, "touched": {"moved": ["b.py:f"]}}
    reach.add(before)
    assert reach.tests_of(mutant, Users(chosen.ROOT, [])) == [
        "fast", "moved", "slow", "fast[postgres]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "killer"),
    [
        ({"failed": ["test"], "in_time": True, "code": 1}, "test"),
        ({"failed": [], "in_time": False, "code": -1}, "its tests do not end"),
        ({"failed": [], "in_time": True, "code": 2}, "its tests do not start"),
        ({"failed": [], "in_time": True, "code": 0}, None),
        ({"failed": [], "in_time": True, "code": 5}, None),
    ],
)
def test_a_failure_a_time_out_and_a_broken_import_kill(seen, killer):
    assert killer_in(seen) == killer


def test_each_function_notes_that_it_ran_under_the_name_of_the_outermost():
    source = b"""
def first():
    'words'
    def inner():
        return 1
    return inner

class Group:
    class Part:
        async def method(self): ...
    def method(self):
        return first()

made = first()
"""
    names = set()
    noting.note_into(names)
    module = {}
    exec(compile(noting.add_notes("a.py", source), "a.py", "exec"), module)
    assert (names, module["first"].__doc__) == ({"a.py:first"}, "words")
    names.clear()
    module["made"]()
    assert names == {"a.py:first"}
    module["Group"]().method()
    module["Group"].Part().method().close()
    assert names == {"a.py:first", "a.py:Group.method"}


QUICK, LONG = {"a.py::t": 0.2}, {"a.py::t": 30.0}
FAILS = {"failed": ["a.py::t"], "in_time": True, "code": 1}
PASSES = {"failed": [], "in_time": True, "code": 0}
HANGS = {"failed": [], "in_time": False, "code": -1}


@pytest.mark.parametrize(
    ("answers", "seconds", "killer", "asked"),
    [
        ([FAILS], QUICK, "a.py::t", 1),
        ([FAILS, PASSES], LONG, "a.py::t", 2),
        ([FAILS, FAILS, PASSES], LONG, None, 3),
        ([FAILS, HANGS, PASSES], LONG, None, 3),
        ([HANGS, PASSES], QUICK, "its tests do not end", 2),
        ([HANGS, HANGS], QUICK, None, 2),
        ([PASSES], QUICK, None, 1),
    ],
)
def test_what_also_fails_or_is_late_without_the_mutant_kills_nothing(
    answers, seconds, killer, asked
):
    """Other work on the machine makes tests late."""
    (mutant, *_) = find_mutants("a.py", b"def f(a):\n    return a == 1\n")
    tests = {**seconds, "a.py::other": 0.1}
    reach = Reach()
    touched = {test: ["a.py:f"] for test in tests}
    reach.add({"passed": [*tests], "seconds": dict.fromkeys(tests, 0.1), "touched": touched})
    bench = Bench([{**answer, "seconds": seconds} for answer in answers])
    trial = try_mutant(bench, mutant, reach, Users(chosen.ROOT, []), goes_wider=False)
    assert (trial.killed_by, len(bench.jobs)) == (killer, asked)
    if asked == 3:  # the others are asked without it
        assert bench.jobs[-1] == ["a.py::other"]


def test_tests_of_few_files_are_asked_before_those_of_many():
    (mutant, *_) = find_mutants("a.py", b"def f(a):\n    return a == 1\n")
    tests = [f"{file}.py::{n}" for n in range(20) for file in "abcd"]
    reach = Reach()
    seconds = {test: place for place, test in enumerate(tests)}
    reach.add({"passed": tests, "seconds": seconds, "touched": {t: ["a.py:f"] for t in tests}})
    bench = Bench([PASSES, PASSES])
    trial = try_mutant(bench, mutant, reach, Users(chosen.ROOT, []), goes_wider=False)
    assert trial.killed_by is None
    first, rest = bench.jobs
    assert first == [test for test in tests if test[0] in "ab"][:25]
    assert sorted(first + rest) == sorted(tests)
    bench = Bench([PASSES, PASSES])
    try_mutant(bench, mutant, reach, Users(chosen.ROOT, []), goes_wider=False, most_s=3.0)
    assert [test for job in bench.jobs for test in job] == tests[:3]


class Bench:
    """Gives one answer after the other; `jobs` are the tests that it was asked for."""

    def __init__(self, answers):
        self._answers, self.jobs = answers, []

    def run(self, _files, tests, *, limit_s):
        assert limit_s > 0
        self.jobs.append([*tests])
        return self._answers.pop(0)

    def mutated(self, _mutant):
        return nullcontext()


def test_a_run_goes_on_with_what_was_not_tried_or_survived_other_tests(tmp_path):
    first, second, third = chosen.all_mutants()[:3]
    record = Record(tmp_path / "tried.tsv", chosen.ROOT, "tests now")
    assert record.find([first]) == []
    record.add(Trial(first, "a test", 1, 0.1))
    record.add(Trial(second, None, 1, 0.1))
    found = {trial.mutant: trial.killed_by for trial in record.find([first, second, third])}
    assert found == {first: "a test", second: None}
    later = Record(tmp_path / "tried.tsv", chosen.ROOT, "other tests")
    assert [trial.mutant for trial in later.find([first, second, third])] == [first]


def test_the_score_is_the_share_of_the_killed_by_package(capsys):
    mutants = chosen.all_mutants()[:4]
    trials = [Trial(mutant, "a test", 1, 0.1) for mutant in mutants]
    assert command.print_score(trials) == 100
    trials[0] = Trial(mutants[0], None, 1, 0.1)
    assert command.print_score(trials) == 75
    assert capsys.readouterr().out.endswith("all: 3 of 4 killed, 75.0 %\n")
