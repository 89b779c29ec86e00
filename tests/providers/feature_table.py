"""What `dispatcher/providers/README.md` takes from the code: the table of features, the example.

python -m tests.providers.feature_table     # writes both anew
"""

import re
import sys
from dataclasses import replace
from pathlib import Path

from dispatcher.providers import provider_names
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.status import Kind
from tests.providers.test_contract import adapter, cases_of

README = Path(__file__).parents[2] / "dispatcher/providers/README.md"
BEGIN, END = (
    "<!-- features: `python -m tests.providers.feature_table` -->\n",
    "<!-- /features -->\n",
)


def _recipients(provider: Provider) -> str:
    limit = provider.settings.documented_max_recipients
    return f"{provider.capabilities.max_recipients}" + ("" if limit else " (our guess)")


def _status(provider: Provider) -> str:
    able = provider.capabilities
    if able.delivery_status is StatusLookup.BY_MESSAGE and able.lists_accepted:
        return "by message, list"
    return able.delivery_status.value.removeprefix("by ")


def _kinds(provider: Provider) -> str:
    """Whether the kind of a campaign changes its requests."""
    batch = cases_of(provider.name).build[0].batch
    bodies = {
        request.http.body
        for kind in Kind
        for request in provider.submit_requests(replace(batch, kind=kind))
    }
    requests = len(list(provider.submit_requests(batch)))
    return "by route" if len(bodies) > requests else "label"


def _template(provider: Provider) -> str:
    if provider.capabilities.template_variables:
        return "provider fills it"
    return "checked text" if provider.capabilities.templates else "–"


def _pushes(provider: Provider) -> str | bool:
    able = provider.capabilities
    if able.pushes_receipts == able.pushes_replies:
        return able.pushes_receipts
    return "receipts" if able.pushes_receipts else "replies"


ROWS = {
    "recipients in one request": _recipients,
    "a text of its own for each of them": lambda one: one.capabilities.personal_texts,
    "delivery status by": _status,
    "balance": lambda one: one.capabilities.balance,
    "sender ids": lambda one: one.capabilities.senders,
    "templates with variables": _template,
    "kinds of campaign": _kinds,
    "flash": lambda one: one.capabilities.flash,
    "contact lists (`--contact-list`)": lambda one: one.capabilities.contact_lists,
    "scheduling (`--schedule-at-provider`)": lambda one: one.capabilities.provider_scheduling,
    "lists what it accepted (settles doubts)": lambda one: one.capabilities.lists_accepted,
    "pushes receipts and replies": _pushes,
    "prices": lambda one: one.capabilities.prices,
}


def table() -> str:
    """The table in Markdown."""
    named = {name: adapter(name) for name in provider_names()}
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
    example = (Path(__file__).parent / "example/cheapsms.py").read_text("utf-8")
    after = re.sub(r"(?<=```python\n).*?(?=```)", lambda _: example, after, flags=re.DOTALL)
    README.write_text(before + BEGIN + table() + END + after, "utf-8")
