"""Which mutants a source file has. Each replaces an expression or a statement by another text."""

import ast
from dataclasses import dataclass

#: The kinds of change, in the order in which the documents list them.
OPERATORS = (
    "comparison", "negation", "and-or", "clause", "where", "bound", "constant", "guard",
)  # fmt: skip
_SIGNS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_TURNED = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not",
    "is not": "is", "in": "not in", "not in": "in",
}  # fmt: skip
_ORDERS = ast.Lt | ast.LtE | ast.Gt | ast.GtE
#: SQLAlchemy's calls whose arguments are conditions that must all (or one of which must) hold.
_CONDITIONS = {"where", "and_", "or_"}
#: Calls whose numbers are bounds.
_BOUNDED = {"min", "max", "range"}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_GENERIC = {"dict", "frozenset", "list", "set", "tuple"}
#: What is said about something, and not done: no mutants in these calls.
_WORDS = {"debug", "info", "warning", "error", "exception", "log_event", "add_audit_row"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place in a file. `start` and `end` are offsets in its bytes."""

    path: str
    #: The function or class around it, as `LatenessGuard.may_leave`; `(module)` outside of any.
    where: str
    #: The module's name that is assigned around it, outside of functions.
    assigned: str | None
    operator: str
    line: int
    start: int
    end: int
    before: str
    after: str

    @property
    def key(self) -> str:
        """What it is called in `equivalent.toml`: the same wherever its line moves."""
        return f"{self.path}:{self.where}: {_one_line(self.before)} => {_one_line(self.after)}"

    def apply_to(self, source: bytes) -> bytes:
        """The file with this change."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def find_mutants(path: str, source: bytes) -> list[Mutant]:
    """All mutants of a file, in order."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    found = {(m.start, m.end, m.after): m for m in finder.found if m.after != m.before}
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.operator, m.after))


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.found: list[Mutant] = []
        self._around: list[str] = []
        self._assigned: str | None = None
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self._starts = starts

    # --- Places -------------------------------------------------------------------------------

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()

    def _add(self, operator: str, node: ast.AST, after: str) -> None:
        self._add_at(operator, node.lineno, self._span(node), after)

    def _add_at(self, operator: str, line: int, span: tuple[int, int], after: str) -> None:
        start, end = span
        self.found.append(
            Mutant(
                path=self.path,
                where=".".join(self._around) or "(module)",
                assigned=None if self._is_in_function else self._assigned,
                operator=operator,
                line=line,
                start=start,
                end=end,
                before=self.source[start:end].decode(),
                after=after,
            )
        )

    # --- What is walked through -----------------------------------------------------------------

    _is_in_function = False

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name in {"__repr__", "__str__"}:
            return
        is_outermost = not self._is_in_function
        if is_outermost:
            self._around.append(node.name)
            self._is_in_function = True
        # Annotations are not conditions.
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        if is_outermost:
            self._around.pop()
            self._is_in_function = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._around.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._around.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_assigned(node.targets[0], node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        is_alias = isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
        if node.value is not None and not is_alias:
            self._visit_assigned(node.target, node.value)

    def _visit_assigned(self, target: ast.expr, value: ast.expr) -> None:
        if not self._is_in_function:
            self._assigned = target.id if isinstance(target, ast.Name) else None
        self.visit(value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Not a promise: it may be left out."""

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None and "AssertionError" in ast.unparse(node.exc):
            return  # as `assert`
        self._add("guard", node, "pass")  # its message is for people

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A text for people."""

    # --- Statements -----------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._negate(node.test)
        is_guard = len(node.body) == 1 and isinstance(
            node.body[0], ast.Return | ast.Raise | ast.Continue | ast.Break
        )
        is_elif = self._text(node).startswith("elif")
        if is_guard and not node.orelse and not is_elif:
            self._add("guard", node, "pass")
        if is_guard and isinstance(node.body[0], ast.Raise):
            self.visit(node.test)  # without the `raise` is without the guard
        else:
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return  # `visit_UnaryOp` takes its `not` away
        if isinstance(test, ast.Compare) and not isinstance(test.ops[0], _ORDERS):
            return  # `visit_Compare` turns it around
        self._add("negation", test, f"(not ({ast.unparse(test)}))")

    # --- Expressions ----------------------------------------------------------------------------

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add("negation", node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for turned in range(len(node.ops)):
            text = ast.unparse(node.left)
            for index, (op, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
                sign = _SIGNS[type(op)]
                text += f" {_TURNED[sign] if index == turned else sign} {ast.unparse(right)}"
            self._add("comparison", node, f"({text})")
        if any(isinstance(op, _ORDERS) for op in node.ops):
            for one in [node.left, *node.comparators]:
                self._move_bound(one)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        values = [f"({ast.unparse(value)})" for value in node.values]
        self._add("and-or", node, f"({f' {other} '.join(values)})")
        self._drop_each("clause", node, values, f" {word} ")
        self.generic_visit(node)

    def _drop_each(self, operator: str, node: ast.AST, values: list[str], joint: str) -> None:
        for index in range(len(values)):
            left = [value for number, value in enumerate(values) if number != index]
            self._add(operator, node, f"({joint.join(left)})")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.BitAnd | ast.BitOr) and not self._is_of_types(node):
            sign, other = ("&", "|") if isinstance(node.op, ast.BitAnd) else ("|", "&")
            both = [f"({ast.unparse(value)})" for value in (node.left, node.right)]
            if not isinstance(node.left, ast.Dict) and not isinstance(node.right, ast.Dict):
                self._add("and-or", node, f"({both[0]} {other} {both[1]})")
                self._drop_each("clause", node, both, f" {sign} ")
        if isinstance(node.op, ast.Add | ast.Sub) and isinstance(node.right, ast.Constant):
            self._add("bound", node, f"({ast.unparse(node.left)})")
        self.generic_visit(node)

    @staticmethod
    def _is_of_types(node: ast.BinOp) -> bool:
        """Types, flags of a file, and the union of two dictionaries' calls."""
        if isinstance(node.left, ast.Subscript) and ast.unparse(node.left.value) in _GENERIC:
            return True
        if isinstance(node.right, ast.Attribute) and ast.unparse(node.right.value) == "os":
            return True
        return any(isinstance(one, ast.Constant) for one in (node.left, node.right)) or (
            isinstance(node.right, ast.Call) and "parameters" in ast.unparse(node.right)
        )

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.slice, ast.Slice):
            for one in (node.slice.lower, node.slice.upper):
                self._move_bound(one)
        self.generic_visit(node)

    def _move_bound(self, node: ast.expr | None) -> None:
        if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
            self._add("bound", node, f"{node.value + 1}")

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Name):
            name = node.func.id
        if name in _WORDS:
            return
        if name in _BOUNDED:
            for one in node.args:
                self._move_bound(one)
        if name in _SWAPPED and isinstance(node.func, ast.Name):
            self._add("constant", node.func, _SWAPPED[name])
        if name in _CONDITIONS:
            self._drop_conditions(node)
        self.visit(node.func)
        # With `only_from` the new state is not in the SQL: it is checked against the tables.
        is_checked = name == "may_become" and bool(node.keywords)
        named = [each.value for each in node.keywords if each.arg != "strict"]
        for value in [*node.args[is_checked:], *named]:
            self.visit(value)

    def _drop_conditions(self, node: ast.Call) -> None:
        """From the bracket on, so that what stands before the call stays as it is."""
        span = self._span(node.func)[1], self._span(node)[1]
        for dropped in node.args:
            left = ", ".join(ast.unparse(one) for one in node.args if one is not dropped)
            self._add_at("where", dropped.lineno, span, f"({left})")

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add("constant", node, str(not node.value))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and (other := _other_member(node)):
            self._add("constant", node, other)
        self.generic_visit(node)


def _other_member(node: ast.Attribute) -> str | None:
    """Another member of the same enum, of those that decide something."""
    assert isinstance(node.value, ast.Name)
    names = _members().get(node.value.id, [])
    if node.attr not in names:
        return None
    return f"{node.value.id}.{names[(names.index(node.attr) + 1) % len(names)]}"


def _members() -> dict[str, list[str]]:
    from dispatcher import errors, status
    from dispatcher.policy import breaker, fair_queue

    enums = [
        status.AttemptOutcome, status.BatchState, status.CampaignState, status.MessageState,
        errors.ErrorKind, breaker.Breaker, breaker.ProbeSignal, fair_queue.Unit,
    ]  # fmt: skip
    return {enum.__name__: [member.name for member in enum] for enum in enums}
