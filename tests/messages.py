"""Collects every message about bad input into tests/messages.txt, for a reviewer to read through.

`python -m tests.messages --write` writes the file anew; a test fails while it is out of date. It
has no line numbers, so that it changes only with the messages.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("messages.txt")
HEAD = """\
Every message about bad input, as the source has it: what is raised, the message, and the hint.
{…} is filled in when it is printed. Written by `python -m tests.messages --write`.
"""
#: The base of the errors that a command prints with their hint.
_PRINTED = "DispatcherError"
#: Errors whose text becomes part of such a message, or the reason why a row is invalid.
_QUOTED = {"MsisdnError", "RenderError", "WindowError", "ZoneError", "_Unsendable"}
#: Packages whose ValueErrors pydantic quotes.
_VALIDATING = ("dispatcher.config", "dispatcher.providers")


@dataclass(frozen=True)
class Message:
    """What a call makes: the class of the error, its alternatives of text, and of the hint."""

    function: str
    kind: str
    texts: tuple[str, ...]
    hints: tuple[str, ...]


def render_file() -> str:
    """The whole text of messages.txt."""
    parts = [HEAD]
    for module, messages in _modules():
        parts.append(f"\n{module}\n")
        function = ""
        for message in messages:
            if message.function != function:
                function = message.function
                parts.append(f"  {function}\n")
            parts += [f"    {message.kind}: {text}\n" for text in message.texts]
            parts += [f"      hint: {hint}\n" for hint in message.hints]
    return "".join(parts)


def _modules() -> Iterator[tuple[str, list[Message]]]:
    files = [path for base in ("dispatcher", "workers") for path in (ROOT / base).rglob("*.py")]
    trees = {_module_name(path): ast.parse(path.read_bytes()) for path in sorted(files)}
    printed = subclasses(trees.values(), _PRINTED)
    for module, tree in sorted(trees.items()):
        kinds = printed | _QUOTED | {"CheckResult"}
        if module.startswith(_VALIDATING):
            kinds = kinds | {"ValueError"}
        reader = _Reader(kinds, tree)
        reader.visit(tree)
        if reader.found:
            tables = [] if module.startswith("dispatcher.simulator") else _tables(tree)
            yield module, [*reader.found, *tables]


def _tables(tree: ast.Module) -> Iterator[Message]:
    """The tables of sentences that a module keeps for its messages."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
            node.value, ast.Dict | ast.Tuple | ast.List | ast.ListComp | ast.Call
        ):
            keys = {
                id(key)
                for one in ast.walk(node.value)
                if isinstance(one, ast.Dict)
                for key in one.keys
            }
            texts = tuple(
                one.value
                for one in ast.walk(node.value)
                if isinstance(one, ast.Constant) and id(one) not in keys and _is_sentence(one.value)
            )
            if texts:
                yield Message(ast.unparse(_targets(node)[0]), "text", texts, ())


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[^|\n]*\w \w+ \w[^|\n]*", value) is not None


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def subclasses(trees: "Iterator[ast.Module]", base: str) -> set[str]:
    """The names of all classes below `base`, and its own."""
    bases = {
        node.name: {ast.unparse(one) for one in node.bases}
        for tree in trees
        for node in _classes(tree)
    }
    found = {base}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def _classes(block: ast.AST) -> Iterator[ast.ClassDef]:
    """The classes in a module, or in a class, a function or another block of one."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        inner = getattr(block, part, None)
        for node in inner if isinstance(inner, list) else ():
            if isinstance(node, ast.ClassDef):
                yield node
            yield from _classes(node)


class _Reader(ast.NodeVisitor):
    """Finds the calls of error classes in a module."""

    def __init__(self, kinds: set[str], tree: ast.Module) -> None:
        self.found: list[Message] = []
        self._kinds = kinds
        self._scopes: list[ast.AST] = [tree]
        self._names: list[str] = []
        self._line = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_Call(self, node: ast.Call) -> None:
        kind = ast.unparse(node.func)
        if kind in self._kinds and (message := self._read_call(kind, node)) is not None:
            self.found.append(message)
        self.generic_visit(node)

    def _enter(self, node: "ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef") -> None:
        self._scopes.append(node)
        self._names.append(node.name)
        self.generic_visit(node)
        self._scopes.pop()
        self._names.pop()

    def _read_call(self, kind: str, node: ast.Call) -> Message | None:
        self._line = node.lineno
        named = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        args = list(node.args)
        if kind in {"ProviderError", "NotBegun"}:
            args = args[1:]  # the first is its ErrorKind
        text = named.get("message") or named.get("what") or (args[0] if args else None)
        hint = named.get("hint") or named.get("remedy") or (args[1] if len(args) > 1 else None)
        if text is None or (isinstance(ok := named.get("ok"), ast.Constant) and ok.value):
            return None
        return Message(
            function=".".join(self._names) or "(module)",
            kind=kind,
            texts=tuple(self._alternatives(text)),
            hints=tuple(self._alternatives(hint)) if hint is not None else (),
        )

    def _alternatives(self, node: ast.expr, depth: int = 0) -> Iterator[str]:
        """The texts that an expression can be; names are followed to what is assigned to them."""
        match node:
            case ast.IfExp():
                yield from self._alternatives(node.body, depth)
                yield from self._alternatives(node.orelse, depth)
            case ast.BoolOp(op=ast.Or()):
                for value in node.values:
                    yield from self._alternatives(value, depth)
            case ast.Constant(value=None):
                return
            case ast.Name() if depth < 2 and (assigned := self._assigned(node.id)):
                for value in assigned:
                    yield from self._alternatives(value, depth + 1)
            case ast.Call(func=ast.Name(id=name)) if returned := self._returned(name):
                for value in returned:
                    yield from self._alternatives(value, depth + 1)
            case _:
                yield _template(node)

    def _returned(self, name: str) -> list[ast.expr]:
        """The texts that a function of this module returns."""
        return [
            node.value
            for function in ast.iter_child_nodes(self._scopes[0])
            if isinstance(function, ast.FunctionDef) and function.name == name
            for node in ast.walk(function)
            if isinstance(node, ast.Return) and node.value is not None and _has_text(node.value)
        ]

    def _assigned(self, name: str) -> list[ast.expr]:
        """The texts last assigned to `name` before the call, in the innermost scope with any."""
        for scope in reversed(self._scopes):
            line = sys.maxsize if isinstance(scope, ast.Module) else self._line
            for statement in _statements_before(scope, line):
                texts = [value for value in _values(statement, name) if _has_text(value)]
                if texts:
                    return texts
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) and name in {
                arg.arg for arg in (*scope.args.args, *scope.args.kwonlyargs)
            }:
                return []
        return []


def _statements_before(scope: ast.AST, line: int) -> Iterator[ast.AST]:
    """The statements of the blocks around `line` that begin before it, from there upwards."""
    blocks = [getattr(scope, name, []) for name in ("body", "orelse", "finalbody", "handlers")]
    for one in sorted((one for block in blocks for one in block), key=lambda one: -one.lineno):
        if one.lineno > line:
            continue
        if line > one.end_lineno:
            yield one
        else:
            yield from _statements_before(one, line)
            if isinstance(one, ast.If):
                yield one.test


def _values(statement: ast.AST, name: str) -> Iterator[ast.expr]:
    """What is assigned to `name` in a statement, but not in functions inside it."""
    stack = [statement]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            names = {one.id for one in _targets(node) if isinstance(one, ast.Name)}
            yield from [node.value] if name in names else []
        stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _targets(node: "ast.Assign | ast.AnnAssign | ast.NamedExpr") -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _has_text(node: ast.expr) -> bool:
    match node:
        case ast.IfExp():
            return _has_text(node.body) or _has_text(node.orelse)
        case ast.BinOp(op=ast.Add()):
            return _has_text(node.left) or _has_text(node.right)
        case _:
            return isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, str)
            )


def _template(node: ast.expr) -> str:
    """A text with its expressions in braces; `!r` shows the quotes that it prints."""
    match node:
        case ast.Constant(value=str() as text):
            return text.replace("\n", "⏎")
        case ast.JoinedStr():
            return "".join(_template(part) for part in node.values)
        case ast.FormattedValue():
            quote = "'" if node.conversion == ord("r") else ""
            return f"{quote}{{{ast.unparse(node.value)}}}{quote}"
        case ast.BinOp(op=ast.Add()):
            return _template(node.left) + _template(node.right)
        case _:
            return f"{{{ast.unparse(node)}}}"


def main() -> int:
    """Write the file, or print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write tests/messages.txt")
    if parser.parse_args().write:
        FILE.write_text(render_file(), encoding="utf-8")
    else:
        sys.stdout.write(render_file())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
