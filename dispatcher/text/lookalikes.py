"""What looks like a placeholder and is not: other programs write theirs in other ways."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from dispatcher.errors import TextRefused
from dispatcher.text.template import TextTemplate, fold_name

#: Ways of other programs; the name is the only group that matches.
_WAYS: Final = re.compile(
    r"\*\|([^*|{}]+)\|\*|<<([^<>{}]+)>>|\{%-?\s*(\w+)\s*-?%\}|\$\{([^{}]+)\}|\{([^{}|%]+)\}"
    r"|\(\(([^()]+)\)\)|\[\[([^\[\]]+)\]\]|\[([^\[\]]+)\]|%%([^%\s]+)%%|%([^\W\d]\w*)%"
    r"|«([^«»]+)»|<([^<>/]+)>|@@?([^\W\d]\w*)@@?|#([^\W\d]\w*)#|(?<!\w)__([^\W\d]\w*?)__|\$([^\W\d]\w*)"
)
#: Ways that nobody uses for anything else.
_CERTAIN: Final = re.compile(r"\*\||<<|\{%|\$\{|\{[^\W\d]|\(\(|\[\[|%%|%[^\W\d]\w*%")
_LONGEST_NAME: Final = 40


def refuse_lookalikes(template: TextTemplate, headers: Sequence[str]) -> None:
    """Raises Refused if the text names a column of the file in another way than `{{…}}`.

    Everybody would get `{name}` instead of a name.
    """
    columns = {_fold(header): header for header in headers if header}
    for written, name in _find(template):
        if (header := columns.get(_fold(name))) is not None:
            raise TextRefused(
                f"the text has {written}, and everybody would get it as it is",
                f"write {{{{{header}}}}} to fill in the column, or rename the column '{header}'",
            )
    for before, after in pairwise(template.literals):
        if before.endswith("{") and after.startswith("}"):
            raise TextRefused(
                "the text has a placeholder in three braces, and everybody would get one of them",
                "write {{name}}, with two",
            )


def lookalikes(template: TextTemplate) -> list[str]:
    """What looks like a placeholder and will be sent as it is."""
    return [written for written, _ in _find(template) if _CERTAIN.match(written)]


def _find(template: TextTemplate) -> list[tuple[str, str]]:
    """What is written like a placeholder, and the name in it."""
    matches = (match for literal in template.literals for match in _WAYS.finditer(literal))
    found = ((match[0], next(filter(None, match.groups()), "")) for match in matches)
    return [(written, name) for written, name in found if len(name) <= _LONGEST_NAME]


def _fold(name: str) -> str:
    """First_Name, first-name and FIRST NAME are one column to a person."""
    return re.sub(r"[\s_.-]+", "", fold_name(name))
