"""Which tests run into which functions: measured, since a list of them would soon be wrong."""

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutants.operators import Mutant


@dataclass(slots=True)
class Reach:
    """What the tests nearby do on the code as it is. Only those that pass are here."""

    seconds: dict[str, float] = field(default_factory=dict)
    #: By `FILE:FUNCTION`.
    tests: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, seen: dict[str, Any]) -> None:
        """Add what a traced job has seen."""
        for test in seen.get("passed", []):
            self.seconds[test] = seen["seconds"][test]
            for function in seen["touched"].get(test, []):
                self.tests[function].add(test)

    def tests_of(self, mutant: Mutant, users: "Users") -> list[str]:
        """The tests that can notice a mutant, SQLite's and the fastest first."""
        around = f"{mutant.path}:{mutant.where}"
        functions = {around} | users.of(mutant.where) | users.of(mutant.assigned)
        functions |= self._former_places(functions, users)
        found = {test for function in functions for test in self.tests.get(function, ())}
        if not found:  # no test runs a class's own statements by themselves
            inside = [name for name in self.tests if name.startswith(f"{mutant.path}:")]
            found = {test for function in inside for test in self.tests[function]}
        return sorted(found, key=lambda test: ("[postgres" in test, self.seconds[test], test))

    def _former_places(self, functions: set[str], users: "Users") -> set[str]:
        """Where these functions were when the tests were measured, if they have moved since."""
        names = {function.partition(":")[2] for function in functions}
        return {
            place
            for place in self.tests
            if place not in users.functions and place.partition(":")[2] in names
        }


class Users:
    """For a name bound at import (a constant, a class, a cached function): functions that use it.

    Directly, or through other such names. So for what runs only to make one of these: it does not
    run again for the next test. Names count as the same in all modules.
    """

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self._direct: defaultdict[str, set[str]] = defaultdict(set)
        self._through: defaultdict[str, set[str]] = defaultdict(set)
        self._bound: set[str] = set()
        #: Every function that there is now.
        self.functions: set[str] = set()
        for path in paths:
            for statement in ast.parse((root / path).read_bytes()).body:
                self._note(path, statement)

    def of(self, name: str | None) -> set[str]:
        """The functions, as `FILE:FUNCTION`."""
        if name is None or (name not in self._bound and not self._through.get(name)):
            return set()
        found: set[str] = set()
        known, waiting = {name}, [name]
        while waiting:
            one = waiting.pop()
            found |= self._direct[one]
            new = (self._through[one] & self._bound) - known
            known |= new
            waiting += new
        return found

    def _note(self, path: str, statement: ast.stmt) -> None:
        match statement:
            case ast.ClassDef(name=around, body=body):
                self._bound.add(around)
                for inner in body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        self._note_use(f"{path}:{around}.{inner.name}", inner)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self._note_use(f"{path}:{name}", statement)
                if any("cache" in ast.unparse(each) for each in statement.decorator_list):
                    self._bind(name, statement)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self._bind(name, statement)

    def _note_use(self, function: str, node: ast.AST) -> None:
        self.functions.add(function)
        for name in _names(node):
            self._direct[name].add(function)

    def _bind(self, bound: str, node: ast.AST) -> None:
        self._bound.add(bound)
        for name in _names(node):
            self._through[name].add(bound)


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def sum_of(root: Path, path: str) -> str:
    """A sum of a test file, so that it is measured again when it changes."""
    return hashlib.sha256(path.encode() + (root / path).read_bytes()).hexdigest()[:16]
