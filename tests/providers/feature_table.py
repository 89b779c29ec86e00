"""The table in `dispatcher/providers/README.md` of what providers can do, from their capabilities.

python -m tests.providers.feature_table     # writes it anew
"""

import sys
from pathlib import Path

from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.base import Capabilities, StatusLookup

README = Path(__file__).parents[2] / "dispatcher/providers/README.md"
BEGIN, END = (
    "<!-- features: `python -m tests.providers.feature_table` -->\n",
    "<!-- /features -->\n",
)


def _recipients(able: Capabilities) -> str:
    return f"{able.max_recipients}" + ("" if able.max_recipients_documented else " (our guess)")


def _status(able: Capabilities) -> str:
    if able.delivery_status is StatusLookup.BY_MESSAGE and able.lists_accepted:
        return "by message, list"
    return able.delivery_status.value.removeprefix("by ")


def _kinds(able: Capabilities) -> str:
    return "by route" if able.routed_kinds else "label"


def _template(able: Capabilities) -> str:
    if able.template_variables:
        return "provider fills it"
    return "checked text" if able.templates else "–"


ROWS = {
    "recipients in one request": _recipients,
    "a text of its own for each of them": lambda able: able.personal_texts,
    "delivery status by": _status,
    "balance": lambda able: able.balance,
    "sender ids": lambda able: able.senders,
    "templates with variables": _template,
    "kinds of campaign": _kinds,
    "flash": lambda able: able.flash,
    "contact lists (`--contact-list`)": lambda able: able.contact_lists,
    "scheduling (`--schedule-at-provider`)": lambda able: able.provider_scheduling,
    "lists what it accepted (settles doubts)": lambda able: able.lists_accepted,
    "prices": lambda able: able.prices,
}


def table() -> str:
    """The table in Markdown."""
    named = {name: provider_class(name).capabilities for name in provider_names()}
    lines = [
        "| | " + " | ".join(f"`{name}`" for name in named) + " |",
        "|---" * (len(named) + 1) + "|",
    ]
    for label, read in ROWS.items():
        cells = [{True: "✓", False: "–"}.get(value, value) for value in map(read, named.values())]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def in_readme(readme: str) -> tuple[str, str, str]:
    """What stands before the table, the table, and what follows it."""
    before, _, rest = readme.partition(BEGIN)
    found, _, after = rest.partition(END)
    return before, found, after


if __name__ == "__main__":
    before, found, after = in_readme(README.read_text("utf-8"))
    if not after:
        sys.exit(f"{README} has no place for the table")
    README.write_text(before + BEGIN + table() + END + after, "utf-8")
