"""The limits that keep the code a house that people find their way in, and what it has now.

`tests/unit/test_house.py` checks what can be read from the files. `make check` checks what needs
a run of mypy: `python -m tests.house REPORT`, with the report of `mypy --any-exprs-report`.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("dispatcher", "workers")
#: Modules side by side in a folder; a folder of one kind of thing explains itself by its list.
MOST_MODULES = 12
_LISTS = {"dispatcher/providers", "dispatcher/store", "dispatcher/cli", "dispatcher/cli/campaign"}
MOST_LINES = 310  # "about 300"
#: Not split yet.
_LONG_MODULES = {"dispatcher/store/answers.py"}
MOST_LINES_OF_A_FUNCTION = 58
MOST_ONE_WORD_NAMES = 0.12
MOST_README_WORDS = 900
#: Words that are plain English nowhere in this project's texts; each was once in many of them.
_TRANSLATED = re.compile(
    r"(?<!there )\b(?:is|are) no (?!longer\b|other\b)|\b(?:foretold|told)\b|\bput right\b"
    r"|\bstands in\b|\bof whom\b|\bof no use\b|'s to say\b",
    re.IGNORECASE,
)
_TEXTS = (
    "*.md", "deploy/*", "docker-compose.yml", "Makefile",
    *(f"{package}/**/*.{kind}" for package in PACKAGES for kind in ("py", "md", "toml")),
)  # fmt: skip
#: Expressions of type Any in mypy's report; most are what libraries without types return.
MOST_ANY = 299

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of each module by its path, without migrations, which never change."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "versions" not in path.parts
    }


def crowded_folders() -> dict[str, int]:
    """Folders with too many modules side by side, with their number."""
    counts = Counter(path.rpartition("/")[0] for path in modules() if not path.endswith("__.py"))
    return {folder: n for folder, n in counts.items() if n > MOST_MODULES and folder not in _LISTS}


def long_modules() -> dict[str, int]:
    """Modules that are too long, with their lines."""
    lines = {path: (ROOT / path).read_bytes().count(b"\n") for path in modules()}
    return {path: n for path, n in lines.items() if n > MOST_LINES and path not in _LONG_MODULES}


def functions() -> Iterator[tuple[str, _Function]]:
    """Every function with its module's path."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, _Function):
                yield path, node


def long_functions() -> dict[str, int]:
    """Functions that are too long, with their lines from `def` on."""
    lines = {
        f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, node in functions()
    }
    return {name: n for name, n in lines.items() if n > MOST_LINES_OF_A_FUNCTION}


def one_word_share() -> float:
    """The share of functions whose name is a single word, without Python's own names."""
    names = [node.name.strip("_") for _, node in functions() if not node.name.startswith("__")]
    return sum("_" not in name for name in names) / len(names)


def homonyms() -> dict[str, list[str]]:
    """Top-level classes and functions, also private ones, that several modules define."""
    places = defaultdict(list)
    for path, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | _Function) and not node.name.startswith("__"):
                places[node.name].append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def readme_words() -> int:
    """The words of the README, code included."""
    return len((ROOT / "README.md").read_text(encoding="utf-8").split())


def translated_lines() -> list[str]:
    """Lines of code and documents with words that are not plain English, with their places."""
    return [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for pattern in _TEXTS
        for path in sorted(ROOT.glob(pattern))
        if path.is_file() and path.suffix != ".png"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if _TRANSLATED.search(line)
    ]


def count_any(report: str) -> int:
    """The expressions of type Any, from the last line of mypy's report."""
    name, count, *_ = report.splitlines()[-1].split()
    assert name == "Total", "this is not a report of mypy --any-exprs-report"
    return int(count)


def main() -> None:
    """Say how many Any there are. Exits with 1 if there are too many."""
    found = count_any(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(f"{found} expressions of type Any; at most {MOST_ANY} are allowed")
    if found > MOST_ANY:
        sys.exit(f"give them types: {sys.argv[1]} lists the modules that they are in")


if __name__ == "__main__":
    main()
