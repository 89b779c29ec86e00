"""The configuration as one Settings object: its keys, their meaning and their valid values.

`sources.py` reads it, and `problems.py` describes mistakes in it.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    SecretStr,
    SerializeAsAny,
    ValidationError,
)

from dispatcher import urls
from dispatcher.config.notify_settings import NotifySettings
from dispatcher.config.problems import (
    check_account_name,
    check_booleans,
    check_unknown_variables,
    collected_problems,
    config_error,
    missing_file_named,
    missing_provider_error,
)
from dispatcher.config.proxies import resolve_proxy
from dispatcher.config.secret_sources import read_secrets
from dispatcher.config.sections import (
    BrokerSettings,
    LogSettings,
    ReceiverSettings,
    Section,
    StoreSettings,
    WorkerSettings,
)
from dispatcher.config.sources import Place, RawConfig, describe_missing_file, read_config
from dispatcher.errors import ConfigError, NoSuchAccount, UsageProblem
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.shared.settings import ProviderSettings


class Settings(Section):
    """The whole configuration. `load_settings` makes it."""

    store: StoreSettings = StoreSettings()
    broker: BrokerSettings = BrokerSettings()
    worker: WorkerSettings = WorkerSettings()
    notify: NotifySettings = NotifySettings()
    receiver: ReceiverSettings = ReceiverSettings()
    log: LogSettings = LogSettings()
    accounts: dict[str, SerializeAsAny[ProviderSettings]] = Field(default_factory=dict)

    _path: Path | None = PrivateAttr(default=None)
    _literal_secrets: tuple[str, ...] = PrivateAttr(default=())
    _looked_for: tuple[Path, ...] = PrivateAttr(default=())

    @property
    def path(self) -> Path | None:
        """The absolute path of the file; None if there are only environment variables."""
        return self._path

    @property
    def missing_file(self) -> str | None:
        """A sentence that no file was found, and where it was looked for; None if one was."""
        return describe_missing_file(self._looked_for)

    def account(self, name: str) -> ProviderSettings:
        """The settings of an account. Raises ConfigError, with similar names, if there is none."""
        try:
            return self.accounts[name]
        except KeyError:
            every = ", ".join(self.accounts) or "none"
            near = get_close_matches(name, self.accounts, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            missing = f"; {self.missing_file}" if self.missing_file else ""
            raise NoSuchAccount(
                f"there is no account {name!r} in the configuration",
                f"{guess}configured accounts: {every}{missing}",
            ) from None

    def secret_values(self) -> frozenset[str]:
        """Every secret as it is, for what must not show any."""
        sections = [self.notify, *self.accounts.values()]
        values = [value for section in sections for _name, value in section]
        found = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
        for url in (self.store.url, self.broker.url, *(a.proxy for a in self.accounts.values())):
            found |= urls.find_passwords(url or "")
        return frozenset(found)

    def find_problems(self) -> list[str]:
        """Sentences for `doctor` about settings that are allowed but unwise."""
        found = []
        if not self.accounts:
            missing = f"; {self.missing_file}" if self.missing_file else ""
            found.append(f"no account is configured: nothing can be sent{missing}")
        if self.broker.ca_file is not None and not self.broker.url.startswith(
            ("rediss://", "sentinels://")
        ):
            found.append(
                "`ca_file` under [broker] is used with a rediss:// or sentinels:// url only"
            )
        if self._path is None or not self._literal_secrets:
            return found
        if self._path.stat().st_mode & stat.S_IROTH:
            found.append(
                f"{self._path} holds secrets ({', '.join(self._literal_secrets)}) and every user "
                f"of this machine can read it: `chmod 600 {self._path}`, or write them as $NAME"
            )
        return found


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration: the file at `path`, else the first of the usual places, else none.

    Environment variables `DISPATCHER_…__…` win over the file. Raises ConfigError if there is no
    configuration, or if a key or a value is wrong.
    """
    raw = read_secrets(read_config(path, environ))
    values = dict(raw.values)
    tables = values.pop("accounts", {})
    settings, accounts = Settings(), {}
    with missing_file_named(raw), collected_problems() as problems:
        with problems.collect():
            check_unknown_variables(raw, Settings)
        with problems.collect():
            settings = _read_sections(raw, values)
        if not isinstance(tables, dict):
            raise ConfigError(
                f"{raw.name_place(('accounts',))}: must be a table, as in [accounts.main]"
            )
        for name, table in tables.items():
            with problems.collect():
                accounts[name] = resolve_proxy(name, read_account(raw, name, table), environ)
    folder = raw.path.parent if raw.path is not None else Path.cwd()
    store = StoreSettings(url=_with_absolute_path(settings.store.url, folder))
    settings = settings.model_copy(
        update={
            "accounts": accounts,
            "store": store,
            "broker": settings.broker.with_paths_in(folder),
            "worker": settings.worker.with_paths_in(folder),
            "notify": settings.notify.with_paths_in(folder),
            "receiver": settings.receiver.with_paths_in(folder),
        }
    )
    settings._path = raw.path
    settings._looked_for = raw.looked_for
    settings._literal_secrets = tuple(_literal_secrets(raw, settings))
    return settings


def load_store_settings(path: Path | None, environ: Mapping[str, str]) -> StoreSettings:
    """Where the configured store is; no other section and no account is looked at.

    Raises ConfigError.
    """
    raw = read_config(path, environ)
    given = {key: value for key, value in raw.values.items() if key == "store"}
    settings = _read_sections(raw, read_secrets(replace(raw, values=given)).values)
    folder = raw.path.parent if raw.path is not None else Path.cwd()
    return StoreSettings(url=_with_absolute_path(settings.store.url, folder))


def _read_sections(raw: RawConfig, values: Mapping[str, object]) -> Settings:
    """Everything but the accounts."""
    notify = values.get("notify")
    if isinstance(notify, dict):
        values = {**values, "notify": _decode_json_values(NotifySettings, notify)}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise config_error(error, raw, (), Settings) from None
    check_booleans(raw, (), Settings, values)
    return settings


def read_account(raw: RawConfig, name: str, table: object) -> ProviderSettings:
    """The settings of an account as `table` has them. Raises ConfigError."""
    place = ("accounts", name)
    check_account_name(raw, name)
    if not isinstance(table, dict):
        raise ConfigError(f"{raw.name_place(place)}: must be a table, as in [accounts.{name}]")
    provider = table.get("provider")
    if not isinstance(provider, str):
        raise missing_provider_error(raw, name, provider_names())
    try:
        adapter = provider_class(provider)
    except UsageProblem as error:
        where = raw.name_place((*place, "provider"))
        raise type(error)(f"{where}: {error.message}", error.hint) from None
    defaults = {"base_url": adapter.default_base_url} if adapter.default_base_url else {}
    values = defaults | _decode_json_values(adapter.settings_type, table)
    try:
        account = adapter.settings_type.model_validate(values)
    except ValidationError as error:
        raise config_error(error, raw, place, adapter.settings_type) from None
    check_booleans(raw, place, adapter.settings_type, values)
    return account


def _decode_json_values(model: type[BaseModel], table: Mapping[str, Any]) -> dict[str, Any]:
    """Decode lists and tables given as one variable: `DISPATCHER_…__CHANNELS={"otp": 3}`."""
    decoded = dict(table)
    for key, value in table.items():
        field = model.model_fields.get(key)
        if field is None or not _is_list_or_table(field.annotation):
            continue
        if isinstance(value, dict):
            decoded[key] = {name: _decode_json(item) for name, item in value.items()}
        else:
            decoded[key] = _decode_json(value)
    return decoded


def _is_list_or_table(annotation: object) -> bool:
    """Whether a key's value is a list or a table, or may also be left out."""
    kinds = [annotation, *(get_args(annotation) if isinstance(annotation, UnionType) else ())]
    return any(get_origin(kind) in {dict, tuple} for kind in kinds)


def _decode_json(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # the key's own check then says what is allowed


def _with_absolute_path(url: str, folder: Path) -> str:
    """The URL with an SQLite file's absolute path, escaped, so that it is read in one way only.

    A `%XX` in the path is an escaped character, unless only a path with the `%XX` itself exists.
    """
    if not urls.is_sqlite_url(url):
        return url
    written, options = urls.split_sqlite_url(url)
    decoded_path, written_path = folder / urls.decode_path(written), folder / written
    is_as_written = written_path.exists() and not decoded_path.exists()
    if not written_path.exists() and not decoded_path.exists():
        is_as_written = written_path.parent.exists() and not decoded_path.parent.exists()
    return urls.sqlite_url(str(written_path if is_as_written else decoded_path), options)


def _literal_secrets(raw: RawConfig, settings: Settings) -> list[str]:
    """The places of secrets that are in the file itself."""
    places: list[Place] = [
        ("accounts", name, key)
        for name, account in settings.accounts.items()
        for key in type(account).model_fields
        if isinstance(getattr(account, key), SecretStr)
    ]
    places += [("notify", "secret")] if settings.notify.secret is not None else []
    for section, url in (("store", settings.store.url), ("broker", settings.broker.url)):
        if urls.has_password(url):
            places.append((section, "url"))
    places += [
        ("accounts", name, "proxy")
        for name, account in settings.accounts.items()
        if account.proxy is not None and "@" in account.proxy
    ]
    given_elsewhere = raw.references | raw.variables.keys()
    return [".".join(place) for place in places if place not in given_elsewhere]
