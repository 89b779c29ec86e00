"""Notes which functions of the program run: each writes its name into a set when it is called.

That costs a test hardly any time. A trace function would be called for every library's calls too.
"""

import ast
import builtins
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

_PACKAGES = ("dispatcher", "workers")
_NAME = "_functions_seen"


def note_into(names: set[str]) -> None:
    """Let functions that run from now on write `FILE:FUNCTION` into this set."""
    setattr(builtins, _NAME, names)


def install() -> None:
    """Modules of the program that are imported from now on note what runs."""
    note_into(set())
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]


class _Finder:
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compiled anew: the compiled files beside it note nothing."""
        path = self.get_filename(fullname)
        tree = add_notes(os.path.relpath(path), self.get_data(path))
        return compile(tree, path, "exec", dont_inherit=True)


def add_notes(path: str, source: bytes) -> ast.Module:
    """The module with a note at the start of each function, under the name of its outermost one."""
    tree = ast.parse(source)
    _add_in(path, tree, (), is_in_function=False)
    return ast.fix_missing_locations(tree)


def _add_in(path: str, node: ast.AST, around: tuple[str, ...], *, is_in_function: bool) -> None:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names = around if is_in_function else (*around, name)
                _add_in(path, child, names, is_in_function=True)
                text = f"{_NAME}.add({f'{path}:' + '.'.join(names)!r})"
                note = ast.copy_location(ast.parse(text).body[0], child.body[0])
                for part in ast.walk(note):
                    ast.copy_location(part, note)
                has_docstring = ast.get_docstring(child, clean=False) is not None
                child.body.insert(int(has_docstring), note)
            case ast.ClassDef(name=name) if not is_in_function:
                _add_in(path, child, (*around, name), is_in_function=False)
            case _:
                _add_in(path, child, around, is_in_function=is_in_function)
