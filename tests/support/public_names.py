"""Every name that people and other programs use: keys, commands, JSON and CSV fields, columns.

`tests/public_names.txt` has those of the version 0c9f2b9.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
from pydantic import BaseModel
from sqlmodel import SQLModel

from dispatcher.cli import cli
from dispatcher.config.settings import Settings
from dispatcher.providers import provider_class, provider_names
from dispatcher.status import BatchState, CampaignState, Kind, MessageState, RejectKind
from dispatcher.store import tables
from tests.support.cli import every_command
from tests.support.stage import Stage

ROWS = "phone,name\n919820011223,Asha\n919820011224,Ravi\n12,Short\n919820011223,Again\n"


def written_names() -> set[str]:
    """Names that stand in the code: keys, commands, options, tables, columns, states."""
    assert tables.MESSAGE.name in SQLModel.metadata.tables
    return {*_keys(), *_commands(), *_columns(), *_states()}


def printed_names(stage: Stage, campaign: int) -> set[str]:
    """The fields that commands print and write; `campaign` is one with recipients in doubt."""
    people, rejects = stage.folder / "named.csv", stage.folder / "rejects.csv"
    people.write_text(ROWS, encoding="utf-8")
    submit = ["campaign", "submit", str(people), "--text", "Hello {{name}}", "--account", "main"]
    by_id = str(campaign)
    _fail_last_message(stage, campaign)
    runs = {
        "campaign show": ["campaign", "show", by_id],
        "campaign list": ["campaign", "list"],
        "campaign submit --dry-run": [*submit, "--dry-run"],
        "campaign submit": [*submit, "--rejects", str(rejects), "--yes"],
        "campaign pause": ["campaign", "pause", by_id],
        "campaign set": ["campaign", "set", by_id, "--rate", "5/s"],
        "campaign resume": ["campaign", "resume", by_id],
        "campaign resolve": ["campaign", "resolve", by_id, "--drop", "--yes"],
        "campaign cancel": ["campaign", "cancel", "named", "--yes"],
        "campaign retry": ["campaign", "retry", by_id],
        "account list": ["account", "list"],
        "account check": ["account", "check", "main"],
        "account balance": ["account", "balance", "main"],
        "account senders": ["account", "senders", "main"],
        "account templates": ["account", "templates", "main"],
        "doctor": ["doctor"],
        "send": ["send", "+919820011225", "Hello", "--account", "main"],
    }
    names = set()
    for name, args in runs.items():
        ended = stage.run(*args, "--json")
        assert ended.out, ended.err
        names |= {f"json {name}: {path}" for path in _paths(json.loads(ended.out))}
    exported = stage.run("campaign", "export", by_id).out.splitlines()
    names |= {f"csv campaign export: {column}" for column in next(csv.reader(exported))}
    with rejects.open(encoding="utf-8", newline="") as file:
        names |= {f"csv campaign submit --rejects: {column}" for column in next(csv.reader(file))}
    return names


def _fail_last_message(stage: Stage, campaign: int) -> None:
    """So that `campaign retry` has something to do."""
    last = f"campaign_id = {campaign} ORDER BY seq DESC LIMIT 1"
    with stage.store.write() as conn:
        conn.exec_driver_sql(
            f"UPDATE message SET state = {MessageState.FAILED.value} "
            f"WHERE campaign_id = {campaign} AND seq = (SELECT seq FROM message WHERE {last})"
        )
        conn.exec_driver_sql(
            "UPDATE batch SET pending = pending - 1, failed = failed + 1 WHERE id = "
            f"(SELECT id FROM batch WHERE {last})"
        )


def _keys() -> Iterator[str]:
    yield from _keys_of(Settings)
    for name in provider_names():
        for key in provider_class(name).settings_type.model_fields:
            yield f"key accounts ({name}): {key}"


def _keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys_of(kind, f"{prefix}{name}.")
        else:
            yield f"key {prefix}{name}"


def _commands() -> Iterator[str]:
    for path, command in every_command(cli):
        name = " ".join(path)
        yield from (f"command {' '.join(path[:end])}" for end in range(1, len(path) + 1))
        for param in command.params:
            if isinstance(param, click.Option):
                yield from (f"option {name}: {opt}" for opt in [*param.opts, *param.secondary_opts])


def _columns() -> Iterator[str]:
    for table in SQLModel.metadata.tables.values():
        yield f"table {table.name}"
        yield from (f"column {table.name}.{column.name}" for column in table.columns)


def _states() -> Iterator[str]:
    yield from (f"state campaign: {state.value}" for state in CampaignState)
    yield from (f"state batch: {state.label}" for state in BatchState)
    yield from (f"state message: {state.label}" for state in MessageState)
    yield from (f"state reject: {state.label}" for state in RejectKind)
    yield from (f"kind {kind.value}" for kind in Kind)


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    """`counts.pending`, `samples[].text`: where values are."""
    if isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{prefix}[]")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield (path := f"{prefix}.{name}".lstrip("."))
            yield from _paths(item, path)
