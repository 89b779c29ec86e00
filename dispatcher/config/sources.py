"""Reads the configuration: the file, the variables that replace its values, and `$NAME` values.

`settings.py` knows the keys and their meaning.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeGuard
from urllib.parse import quote

from dispatcher.config.secret_files import read_secret_file
from dispatcher.errors import ConfigError, ConfigFileError, ConfigMissing, VariableMissing
from dispatcher.urls import is_sqlite_url

PREFIX: Final = "DISPATCHER_"
FILE_NAME: Final = "dispatcher.toml"

#: The path of a key: `("accounts", "main", "timeout_s")`.
Place = tuple[str, ...]

#: Variables with our prefix that are not keys.
_NO_KEYS: Final = frozenset({"DISPATCHER_ALIVE_FILE", "DISPATCHER_CONFIG", "DISPATCHER_DEBUG"})
#: Variables that Kubernetes sets in every container for a Service whose name begins with
#: "dispatcher" (Kubernetes, "Discovering services: Environment variables").
_OF_KUBERNETES: Final = re.compile(
    r"DISPATCHER_([A-Z0-9]+_)*"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(rf"\$(?:(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})")
_REFERENCE_OR_DOLLAR: Final = re.compile(rf"\$\$|{_REFERENCE.pattern}")
_URLS: Final = frozenset({("store", "url"), ("broker", "url")})
_LARGEST_FILE_BYTES: Final = 1024 * 1024
_MOST_DOTS: Final = 2000
#: How many tables and lists may be inside each other; the keys need three.
_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RawConfig:
    """A configuration before its keys are checked. `values` may be secret: not in the repr."""

    path: Path | None
    values: dict[str, object]
    #: The places that variables have set, with each variable's name.
    variables: Mapping[Place, str]
    #: Variables with our prefix that cannot be a key.
    unknown_variables: tuple[str, ...]
    #: Places in the file whose value is `$NAME`, or a URL with one.
    references: frozenset[Place] = frozenset()
    #: Where a file was looked for, if none was found.
    looked_for: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"RawConfig(path={self.path})"

    def name_place(self, place: Place) -> str:
        """The place in words that its author knows: a key in the file, or a variable."""
        for known, variable in self.variables.items():
            if known[: len(place)] == place[: len(known)]:
                return variable
        if self.path is None:
            return variable_of(place)
        return f"{'.'.join(place)} in {self.path}"


def describe_missing_file(looked_for: Iterable[Path]) -> str | None:
    """A sentence that no file was found, with where it was looked for; None if one was."""
    places = " and ".join(map(str, looked_for))
    if not places:
        return None
    return f"no {FILE_NAME} was found (looked for {places}): --config names one elsewhere"


def variable_of(place: Place) -> str:
    """The environment variable of a place: `DISPATCHER_ACCOUNTS__MAIN__API_KEY`."""
    return PREFIX + "__".join(place).upper().replace("-", "_")


def read_config(path: Path | None, environ: Mapping[str, str]) -> RawConfig:
    """Read the file at `path`, or the first of the usual places, and replace values by variables.

    Raises ConfigError if there is no configuration, if the file cannot be read, or if a `$NAME` has
    no value.
    """
    found = _find_file(path, environ)
    values = _read_toml(found) if found is not None else {}
    variables, strays = _apply_environment(values, environ)
    _check_depth(values, str(found or "the environment"))
    looked_for = tuple(_usual_places(environ)) if found is None else ()
    if found is None and not variables and not strays:
        raise ConfigMissing(
            f"no configuration found (looked for {', '.join(map(str, looked_for))})",
            "write one with `dispatcher init`, or name it with --config or $DISPATCHER_CONFIG",
        )
    raw = RawConfig(
        path=found, values=values, variables=variables, unknown_variables=strays,
        looked_for=looked_for,
    )  # fmt: skip
    references: set[Place] = set()
    expanded = {
        key: _expand_references(value, (key,), raw, environ, references)
        for key, value in values.items()
    }
    return replace(raw, values=expanded, references=frozenset(references))


def _find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = [(path, "--config")] if path is not None else []
    if not named and (variable := environ.get("DISPATCHER_CONFIG")):
        named = [(Path(variable), "$DISPATCHER_CONFIG")]
    for given, by in named:
        if not given.exists():
            raise ConfigMissing(
                f"the file {given} that {by} names does not exist",
                f"write it with `dispatcher init {given}`",
            )
        return given.absolute()
    return next((place for place in _usual_places(environ) if place.is_file()), None)


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path.cwd() / FILE_NAME
    folder = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():  # the XDG specification: relative paths are to be ignored
        folder = Path(environ.get("HOME") or Path.home()) / ".config"
    yield folder / "dispatcher" / FILE_NAME


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise ConfigFileError(
                f"{path} is larger than 1 MiB",
                "is it a configuration? write one: `dispatcher init`",
            )
        # tomllib needs minutes for a key of many thousand steps.
        if max(line.count(b".") for line in content.split(b"\n")) > _MOST_DOTS:
            raise ConfigFileError(f"{path} has tables or lists nested too deeply", _DEPTH_HINT)
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigFileError(
            f"{path} cannot be read: {error.strerror}", "check the path and its rights"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigFileError(
            f"{path} is not UTF-8 text (byte {error.start + 1})", "save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        what, _, position = str(error).rstrip(")").rpartition(" (at ")
        place = position or "unknown position"
        raise ConfigFileError(
            f"{path}, {place}: {what[:1].lower()}{what[1:]}",
            'the file is TOML: write texts in quotes, as in sender = "SENDER"',
        ) from None
    except RecursionError:
        raise ConfigFileError(
            f"{path} has tables or lists nested too deeply", _DEPTH_HINT
        ) from None
    except ValueError:  # tomllib, of an integer with thousands of digits
        raise ConfigFileError(f"{path} has a number with too many digits") from None


def _apply_environment(
    values: dict[str, object], environ: Mapping[str, str]
) -> tuple[dict[Place, str], tuple[str, ...]]:
    """Put the variables with our prefix into `values`.

    Returns the variables that were used, by place, and those that cannot be a key.
    """
    variables: dict[Place, str] = {}
    strays = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in _NO_KEYS:
            continue
        place = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if not all(place) or len(place) < (3 if place[0] == "accounts" else 2):
            if not _OF_KUBERNETES.fullmatch(variable):
                strays.append(variable)
            continue
        if not environ[variable]:
            raise VariableMissing(f"{variable} is empty", "give it a value, or unset it")
        if place[0] == "accounts":
            place = ("accounts", _match_account(place[1], values, variable), *place[2:])
        table = values
        for step in place[:-1]:
            inner = table.setdefault(step, {})
            if not is_table(inner):
                raise ConfigError(
                    f"{variable}: {step} is a value, not a table of keys", "check its spelling"
                )
            table = inner
        table[place[-1]] = environ[variable]
        variables[place] = variable
    return variables, tuple(strays)


def _match_account(name: str, values: Mapping[str, object], variable: str) -> str:
    """The account in the file that a variable means; a variable has no case and no dashes."""
    accounts = values.get("accounts")
    known = accounts if is_table(accounts) else {}
    meant = [one for one in known if one.lower().replace("-", "_") == name]
    if len(meant) > 1:
        raise ConfigError(
            f"{variable} could mean the accounts {' and '.join(meant)}", "rename one of them"
        )
    return meant[0] if meant else name


def _expand_references(
    value: object, place: Place, raw: RawConfig, environ: Mapping[str, str], references: set[Place]
) -> object:
    """Replace every `$NAME` in `value`; adds the places that had one to `references`."""
    if is_table(value):
        return {
            key: _expand_references(item, (*place, key), raw, environ, references)
            for key, item in value.items()
        }
    if _is_toml_list(value):
        return [
            _expand_references(item, (*place, str(index)), raw, environ, references)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole is None and not _is_composed(place):
        return value[1:] if value.startswith("$$") else value
    if whole is not None:
        references.add(place)
        return _look_up(whole, place, raw, environ)

    def value_of(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        references.add(place)
        found = _look_up(match, place, raw, environ)
        return found if _is_file(place) else _escape_for(value, match, found)

    return _REFERENCE_OR_DOLLAR.sub(value_of, value)


def _escape_for(url: str, match: re.Match[str], found: str) -> str:
    """Escape a value for its place in a URL: a `/` or `@` in a password would end the password.

    Host, port and database are left as they are: a value may hold several of them.
    """
    if is_sqlite_url(url):
        return quote(found)
    is_before_host = match.end() <= url.rfind("@")
    is_option = 0 <= url.find("?", url.rfind("@") + 1) < match.start()
    return quote(found, safe="") if is_before_host or is_option else found


_DEPTH_HINT: Final = "tables are written as in [accounts.main]"


def _check_depth(values: dict[str, object], where: str) -> None:
    """Raise ConfigError for tables and lists that are nested more deeply than any key needs."""
    level: list[object] = [values]
    for _ in range(_DEEPEST):
        level = [item for each in level for item in _items_of(each)]
    if level:
        raise ConfigError(f"{where} has tables or lists nested too deeply", _DEPTH_HINT)


def _items_of(value: object) -> Iterable[object]:
    if is_table(value):
        return value.values()
    return value if _is_toml_list(value) else ()


def is_table(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a value of the configuration is a table of keys."""
    return isinstance(value, dict)


def _is_toml_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _look_up(match: re.Match[str], place: Place, raw: RawConfig, environ: Mapping[str, str]) -> str:
    name = match["plain"] or match["braced"]
    value = environ.get(name)
    if value:
        return value
    if file := environ.get(f"{name}_FILE"):
        return read_secret_file(Path(file), f"{name}_FILE")
    state = "not set" if value is None else "empty"
    raise VariableMissing(
        f"{raw.name_place(place)}: the environment variable {name} is {state}",
        f"export {name}=…, or {name}_FILE=… with the path of a file that holds it; to begin a "
        "value with a dollar sign, write two",
    )


def _is_composed(place: Place) -> bool:
    """Whether the value there is a URL or a path, in the middle of which `$NAME` may be."""
    is_proxy = place[:1] == ("accounts",) and place[2:] == ("proxy",)
    return place in _URLS or is_proxy or _is_file(place)


def _is_file(place: Place) -> bool:
    """Whether the value there is a file's path, as in `${CREDENTIALS_DIRECTORY}/key`."""
    return place[-1].endswith("_file")
