"""Reads the repository's Markdown files: blocks, commands, code spans, links, headings.

The subset that the documents use: fences of three backticks, `#` headings, inline links.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_SHELL = {"sh", "bash", "console", "shell"}


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the line of its first line, and its text."""

    language: str
    line: int
    text: str


@dataclass(frozen=True)
class Document:
    """One Markdown file, by its path in the repository."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return _text_of(self.path)

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def fences(self) -> list[Fence]:
        return [
            Fence(found[1], self.text.count("\n", 0, found.start(2)) + 1, found[2])
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def shell_fences(self) -> list[Fence]:
        return [fence for fence in self.fences if fence.language in _SHELL]

    @property
    def spans(self) -> list[str]:
        """What stands between backticks in the prose."""
        return _SPAN.findall(self.prose)

    @property
    def links(self) -> list[str]:
        """The targets of the links in the prose."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What `#…` may name: the headings as forges write them."""
        seen: Counter[str] = Counter()
        anchors = set()
        for heading in _HEADING.findall(self.prose):
            slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        return anchors


@cache
def _text_of(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def documents() -> tuple[Document, ...]:
    """Every Markdown file of the repository, in the order of their paths."""
    tops = ["*.md", *(f"{folder}/**/*.md" for folder in ("deploy", "dispatcher", "workers"))]
    found = {path for pattern in (*tops, "tests/**/*.md") for path in ROOT.glob(pattern)}
    return tuple(map(Document, sorted(found)))


def commands_of(text: str) -> Iterator[str]:
    """The commands of a shell block, one each, without comments; continued lines are joined."""
    for line in re.sub(r"\\\n *", "", text).splitlines():
        command = re.sub(r"(^|\s+)#\s.*$", "", line).strip().removeprefix("$ ")
        if command:
            yield command
