"""Describes mistakes in a configuration: the place and what is allowed there, never the value."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dispatcher.config.sources import (
    PREFIX,
    Place,
    RawConfig,
    describe_missing_file,
    is_table,
    variable_of,
)
from dispatcher.errors import ConfigError, DispatcherError, UsageProblem
from dispatcher.providers import provider_class, provider_names

#: An account's name is part of its queue's name and of variables.
_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHOWN: Final = 5


def config_error(
    error: ValidationError, raw: RawConfig, place: Place, model: type[BaseModel]
) -> ConfigError:
    """One error for all mistakes that pydantic found in the table at `place`, of type `model`."""
    found = [
        _describe_problem(details, raw, place, model) for details in error.errors(include_url=False)
    ]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if len(found) == 1:
        return ConfigError(found[0].message, found[0].hint)
    return ConfigError("; ".join(map(_with_hint, found[:_SHOWN])) + more)


class Problems:
    """The mistakes of a configuration, part by part."""

    def __init__(self) -> None:
        self._found: list[UsageProblem] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the error of a part, and go on with the next one."""
        try:
            yield
        except UsageProblem as error:
            self._found.append(error)

    def raise_found(self) -> None:
        """Raise what was found, as one error; nothing if nothing was."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise ConfigError("; ".join(map(_with_hint, self._found)))


@contextmanager
def collected_problems() -> Iterator[Problems]:
    """Raises all mistakes that were collected inside, as one error, at the end."""
    problems = Problems()
    with problems.collect():
        yield problems
    problems.raise_found()


@contextmanager
def missing_file_named(raw: RawConfig) -> Iterator[None]:
    """Add to an error about a missing key that no file was found: perhaps the key is in one."""
    try:
        yield
    except ConfigError as error:
        note = describe_missing_file(raw.looked_for)
        if note is None or "this key is required" not in error.message:
            raise
        hint = note if error.hint is None else f"{error.hint}; {note}"
        raise type(error)(error.message, hint) from None


def _with_hint(error: DispatcherError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def missing_provider_error(raw: RawConfig, name: str, known: Iterable[str]) -> ConfigError:
    """The error for an account without `provider`; perhaps a variable misspells another account."""
    place = ("accounts", name, "provider")
    accounts = raw.values["accounts"]
    assert is_table(accounts)
    table = accounts[name]
    variables = [one for at, one in raw.variables.items() if at[:2] == place[:2]]
    others = [other for other in accounts if other != name]
    if (
        near := get_close_matches(name, others, n=1)
        if is_table(table) and len(variables) == len(table)
        else []
    ):
        return ConfigError(
            f"{variables[0]}: there is no account {name!r}", f"did you mean {near[0]}?"
        )
    return _missing_key_error(raw, place, f"one of: {', '.join(known)}")


def check_account_name(raw: RawConfig, name: str) -> None:
    """Raise ConfigError unless `name` can be an account's name."""
    if not _ACCOUNT_NAME.fullmatch(name):
        raise ConfigError(
            f"{raw.name_place(('accounts', name))}: not a valid account name",
            "use 1 to 64 letters, digits, - and _, beginning with a letter or a digit",
        )


def check_unknown_variables(raw: RawConfig, model: type[BaseModel]) -> None:
    """Raise ConfigError, with the nearest key, for a variable with our prefix that is not a key."""
    if not raw.unknown_variables:
        return
    accounts = raw.values.get("accounts")
    names = list(accounts) if is_table(accounts) and accounts else ["main"]
    sections = set(model.model_fields) - {"accounts"}
    places: list[Place] = [
        (section, key) for section in sections for key in _keys_at(model, (section,))
    ]
    places += [("accounts", name, key) for name in names for key in _account_keys()]
    stray = raw.unknown_variables[0]
    # Without the prefix, which would make all of them similar.
    known = [variable_of(place).removeprefix(PREFIX) for place in places]
    near = get_close_matches(stray.removeprefix(PREFIX), known, n=1)
    raise ConfigError(
        f"the environment variable {stray} is not a key of the configuration",
        f"did you mean {PREFIX}{near[0]}?" if near else "write it as DISPATCHER_SECTION__KEY",
    )


def _account_keys() -> list[str]:
    """The keys that an account may have at one provider or another, each once."""
    types = (provider_class(name).settings_type for name in provider_names())
    return list(dict.fromkeys(key for each in types for key in each.model_fields))


def check_booleans(
    raw: RawConfig, place: Place, model: type[BaseModel], table: Mapping[str, object]
) -> None:
    """Raise ConfigError for true or false at a key of another type; pydantic reads them as 1 and 0.

    `table` has been validated as `model`.
    """
    for key, value in table.items():
        kind = model.model_fields[key].annotation
        at = (*place, key)
        if isinstance(value, bool) and kind is not bool:
            raise ConfigError(f"{raw.name_place(at)}: must be a value, not true or false")
        if is_table(value) and isinstance(kind, type) and issubclass(kind, BaseModel):
            check_booleans(raw, at, kind, value)
        elif is_table(value):
            for name, item in value.items():
                if isinstance(item, bool):
                    where = raw.name_place((*at, str(name)))
                    raise ConfigError(f"{where}: must be a value, not true or false")


def _describe_problem(
    details: ErrorDetails, raw: RawConfig, place: Place, model: type[BaseModel]
) -> DispatcherError:
    # pydantic appends this mark to the place of a wrong key in a mapping.
    steps = tuple(str(step) for step in details["loc"] if step != "[key]")
    at = (*place, *steps)
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key_error(raw, at, _keys_at(model, steps[:-1]))
    if kind == "missing":
        return _missing_key_error(raw, at)
    if kind in {"model_type", "dict_type"}:
        return ConfigError(
            f"{raw.name_place(at)}: must be a table of keys",
            "write keys with values there, not a single value",
        )
    if kind == "tuple_type":
        return _not_a_list_error(raw, at, details["input"])
    text = details["msg"].removeprefix("Value error, ")
    for noun in ("Input", "String", "Value", "List", "Dictionary"):
        text = text.replace(f"{noun} should", "must")
    return ConfigError(f"{raw.name_place(at)}: {text}")


def _missing_key_error(raw: RawConfig, place: Place, hint: str | None = None) -> ConfigError:
    written = f'write {place[-1]} = "$NAME", or set {variable_of(place)}'
    return ConfigError(f"{raw.name_place(place)}: this key is required", hint or written)


def _not_a_list_error(raw: RawConfig, place: Place, value: object) -> ConfigError:
    """The error for one text instead of a list; it is shown, unless it is a phone number."""
    is_shown = isinstance(value, str) and place[-1] != "allow_only"
    listed = json.dumps([value]) if is_shown else '["…", "…"]'
    variable = raw.variables.get(place)
    hint = f"{variable}='{listed}'" if variable else f"{place[-1]} = {listed}"
    return ConfigError(f"{raw.name_place(place)}: must be a list", f"write {hint}")


def _unknown_key_error(raw: RawConfig, place: Place, known: Iterable[str]) -> ConfigError:
    keys = list(known)
    near = get_close_matches(place[-1], keys, n=1)
    meant = next((one for one in raw.variables if one[: len(place)] == place), None)
    if not near:
        hint = f"keys known here: {', '.join(keys)}"
    elif meant is not None:
        right = (*place[:-1], near[0], *meant[len(place) :])
        hint = f"did you mean {variable_of(right)}?"
    else:
        hint = f"did you mean {near[0]}?"
    return ConfigError(f"{raw.name_place(place)}: unknown key", hint)


def _keys_at(model: type[BaseModel], steps: Place) -> list[str]:
    """The keys of the table at `steps` below `model`."""
    for step in steps:
        field = model.model_fields.get(step)
        candidates = (field.annotation, *get_args(field.annotation)) if field else ()
        nested = [one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)
