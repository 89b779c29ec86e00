"""What the documents name exists, and what exists is named: links, files, options, keys, states."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from dispatcher import __version__
from dispatcher.cli import cli
from dispatcher.config.secret_sources import SECRET_KEYS
from dispatcher.config.settings import Settings
from dispatcher.logs.events import LogEvent
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.base import ProviderSettings
from dispatcher.recipients.export_cells import EXPORT_COLUMNS
from dispatcher.status import (
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
    RejectKind,
    transitions_of,
)
from tests.documents.markdown import ROOT, Document, documents
from tests.support.cli import every_command

COMMANDS = Document(ROOT / "dispatcher/cli/README.md")
CONFIGURATION = Document(ROOT / "dispatcher/config/README.md")
ARCHITECTURE = Document(ROOT / "ARCHITECTURE.md")
README = Document(ROOT / "README.md")
#: Explained once for all commands.
FOR_ALL = {"--config", "--json", "--csv", "--tsv", "--yes", "--help"}


def of(document):
    return str(document)


def test_the_readme_has_at_most_900_words():
    assert len(README.text.split()) <= 900


@pytest.mark.parametrize("document", documents(), ids=of)
def test_links_lead_to_a_file_and_a_heading_of_this_repository(document):
    broken = []
    for link in document.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        is_there = target.is_relative_to(ROOT) and target.exists()
        if not is_there or (anchor and anchor not in Document(target).anchors):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", documents(), ids=of)
def test_headings_have_the_same_anchor_on_every_forge(document):
    """Letters, digits, commas and single blanks: forges disagree about the rest."""
    headings = re.findall(r"^#{2,6} +(.+?) *$", document.prose, re.MULTILINE)
    unlike = [heading for heading in headings if not re.fullmatch(r"[\w.,]+( [\w.,]+)*", heading)]
    assert unlike == [] or document.path.name == "CHANGELOG.md"


#: `dispatcher/policy/backoff.py`, `support/stage.py`, `tests/documents/`, `README.md`.
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|toml|lua|csv|yaml|yml|service|txt|ini))")
#: Files that people make, or that the program makes for them.
_NOT_OURS = {"dispatcher.toml", "people.csv", "results.csv"}
#: Words of databases, brokers and Markdown, not of our code.
_OF_OTHERS = {"FLUSHALL", "NORMAL", "NAME", "visibility_timeout"}


@pytest.mark.parametrize("document", documents(), ids=of)
def test_files_that_a_document_names_exist(document):
    """Paths are the repository's, the document's folder's, or those below `dispatcher/`.

    A name without a folder is that of a file somewhere.
    """
    named = {span for span in document.spans if _FILE.fullmatch(span) and "NAME" not in span}
    places = (ROOT, document.path.parent, ROOT / "dispatcher", ROOT / "tests")
    missing = {span for span in named if not any((at / span).exists() for at in places)}
    names = {
        path.name
        for top in ("dispatcher", "workers", "tests")
        for path in (ROOT / top).rglob("*.*")
    }
    assert missing - names - _NOT_OURS == set()


#: `content_key`, `ErrorKind`, `COLUMNS`, `FLOWER_BASIC_AUTH`: a word that only code has.
_CODE_WORD = re.compile(r"[a-z]+(_[a-z0-9]+)+|[A-Z][a-z]+([A-Z][a-z]+)+|[A-Z]{2,}(_[A-Z]+)*")
_SOURCES = ("*.py", "*.toml", "*.lua", "*.yaml", "*.yml", "*.json", "*.service", "Dockerfile")


@pytest.fixture(scope="module")
def code():
    """Every word of our sources."""
    tops = ("dispatcher", "workers", "tests", "deploy")
    found = [path for top in tops for kind in _SOURCES for path in (ROOT / top).rglob(kind)]
    found += [ROOT / name for name in ("Makefile", "docker-compose.yml", "pyproject.toml")]
    ours = Path(__file__).parent
    texts = [path.read_text("utf-8") for path in found if ours not in path.parents]
    labels = {event.label for event in LogEvent}
    return {word for text in texts for word in re.findall(r"\w+", text)} | labels


@pytest.mark.parametrize("document", documents(), ids=of)
def test_the_code_has_the_words_that_a_document_takes_from_it(document, code):
    """A renamed function leaves no old name behind. Metrics are written without their prefix."""
    words = {span for span in document.spans if _CODE_WORD.fullmatch(span)} - _OF_OTHERS
    assert {word for word in words if not {word, word.removeprefix("dispatcher_")} & code} == set()


def test_every_command_and_option_stands_in_the_reference():
    """The options of a command stand in its row, or in a table of their own."""
    missing = []
    for path, command in every_command(cli):
        rows = _rows_of(path)
        missing += [] if rows or f"`{' '.join(path)}`" in COMMANDS.text else [path]
        options = [one for one in command.params if isinstance(one, click.Option)]
        names = {name for one in options if not one.hidden for name in one.opts}
        long = {name for name in names if name.startswith("--")} - FOR_ALL
        missing += [(path, name) for name in long if not _stands_in(name, rows)]
    assert missing == []


def _rows_of(path: tuple[str, ...]) -> str:
    """The rows of the tables of commands that name the command; for submit its options' too."""
    rows = [row for row in COMMANDS.text.splitlines() if row.startswith("| ")]
    first = {row: re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows}
    name = " ".join(("dispatcher", *path))
    found = [row for row, spans in first.items() if _names(spans, name)]
    # rehearse has the same options
    if path[-1] in {"submit", "rehearse"}:
        found += [row for row, spans in first.items() if not spans]
    return "\n".join(found)


def _names(spans: list[str], command: str) -> bool:
    """Whether `dispatcher account pause`, `resume` name it: the later ones stand without group."""
    group, _, last = command.rpartition(" ")
    return any(re.match(rf"{command}( |$)", span) for span in spans) or (
        last in spans and any(span.startswith(f"{group} ") for span in spans)
    )


def _stands_in(option: str, text: str) -> bool:
    return re.search(rf"{re.escape(option)}(?![\w-])", text) is not None


def test_every_toml_example_has_only_keys_that_exist():
    ways = {f"{key}_{way}" for key in SECRET_KEYS for way in ("file", "command")}
    accounts = [provider_class(name).settings_type.model_fields for name in provider_names()]
    of_accounts = {key for fields in accounts for key in fields}
    for document in documents():
        for fence in document.fences:
            if fence.language != "toml":
                continue
            for section, table in tomllib.loads(fence.text).items():
                if section == "accounts":
                    assert {key for one in table.values() for key in one} - ways <= of_accounts
                else:
                    known = Settings.model_fields[section].annotation.model_fields
                    assert set(table) - ways <= set(known), f"{document}:{fence.line}"


@pytest.mark.parametrize("name", provider_names())
def test_the_keys_that_only_this_provider_has_are_shown(name):
    """In `starter.toml` or on the page of the providers; the shared ones are all in the former."""
    own = set(provider_class(name).settings_type.model_fields) - set(ProviderSettings.model_fields)
    starter = (ROOT / "dispatcher/cli/starter.toml").read_text("utf-8")
    shown = starter + Document(ROOT / "dispatcher/providers/README.md").text
    assert [key for key in sorted(own) if not re.search(rf"\b{key} = ", shown)] == []


def test_the_keys_that_the_configuration_page_names_exist():
    """That each key is in the reference, `starter.toml`, is in `unit/cli/test_init.py`."""
    sections = [
        Settings.model_fields[name].annotation
        for name in ("store", "broker", "worker", "notify", "receiver", "log")
    ]
    known = {key for section in sections for key in section.model_fields}
    known |= {key for name in provider_names()
              for key in provider_class(name).settings_type.model_fields}  # fmt: skip
    table = CONFIGURATION.text.partition("## Which keys for which wish")[2].partition("\n## ")[0]
    named = {span for row in table.splitlines() for span in re.findall(r"`(\w+)`", row)}
    assert len(named) > 20
    assert named <= known
    assert any("starter.toml" in link for link in CONFIGURATION.links)


def test_every_state_and_export_column_is_explained():
    spans = set(COMMANDS.spans)
    for states in (MessageState, RejectKind):
        assert {state.label for state in states} <= spans
    assert {state.value for state in CampaignState} <= spans
    assert set(EXPORT_COLUMNS) <= spans


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("campaign", CampaignState),
        ("batch", BatchState),
        ("message", MessageState),
        ("attempt", AttemptOutcome),
    ],
)
def test_the_state_tables_of_the_architecture_are_those_of_the_code(kind, states):
    def named(state):
        return state.value if states is CampaignState else state.label

    found = re.search(
        rf"^\| {kind} \| may become \|\n.*\n((\|.*\n)+)", ARCHITECTURE.text, re.MULTILINE
    )
    rows = [row.split("|")[1:3] for row in found[1].splitlines()]
    documented = {
        re.findall("`(.+?)`", old)[0]: set(re.findall("`([a-z_]+)`", new)) for old, new in rows
    }
    real = {named(state): {named(new) for new in transitions_of(state)[state]} for state in states}
    assert documented == {old: new for old, new in real.items() if new}


def test_the_architecture_names_every_package_in_the_order_of_the_layers():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one.get("containers") == ["dispatcher"]]
    wanted = [
        (number, name.strip())
        for number, layer in enumerate(layers, 1)
        for name in re.split("[|:]", layer)
    ]
    rows = re.findall(
        r"^\| (\d+) \| `dispatcher/(\w+)(?:\.py)?` \|", ARCHITECTURE.text, re.MULTILINE
    )
    assert [(int(number), name) for number, name in rows] == wanted
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("workers/**/__init__.py")}
    named = set(re.findall(r"^\| `(workers[\w/]*)` \|", ARCHITECTURE.text, re.MULTILINE))
    assert named == {folder.as_posix() for folder in folders}


def test_the_changelog_is_kept_by_keep_a_changelog_up_to_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", versions[1])
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_glossary_explains_each_word_once():
    glossary = ARCHITECTURE.text.partition("## Glossary")[2]
    words = re.findall(r"^\| ([a-z][^|]+?) \|", glossary, re.MULTILINE)[1:]
    assert len(words) == len(set(words)) >= 25
