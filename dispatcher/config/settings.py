"""The configuration as one Settings object: which keys exist, what they mean and may hold.

Where it is read from is `sources.py`'s; how mistakes in it are told is `problems.py`'s.
"""

import json
import os
import stat
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_origin
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from dispatcher.config.problems import (
    check_account_name,
    check_unknown_variables,
    config_error,
    missing_provider_error,
)
from dispatcher.config.sources import Place, RawConfig, read_config
from dispatcher.errors import ConfigError, UsageProblem
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.shared.settings import ProviderSettings

_STORE_SCHEMES: Final = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_BROKER_SCHEMES: Final = ("redis", "rediss", "redis+socket", "unix")


class Section(BaseModel):
    """A table of keys. Unknown ones are refused, and errors never show values."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class StoreSettings(Section):
    """`[store]`: where campaigns are kept. A relative SQLite path is the configuration folder's."""

    url: str = Field(default="sqlite:///dispatcher.db", repr=False)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if scheme not in _STORE_SCHEMES:
            raise ValueError("must be sqlite:///FILE or postgresql://USER:$PGPASSWORD@HOST/NAME")
        if scheme.startswith("sqlite") and rest.partition("?")[0] in {"", "/", "/:memory:"}:
            raise ValueError("SQLite needs a file, as in sqlite:///dispatcher.db")
        return value


class BrokerSettings(Section):
    """`[broker]`: the Redis server that carries due work; `embedded` is one of our own."""

    url: str = Field(default="embedded", repr=False)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value != "embedded" and value.partition("://")[0] not in _BROKER_SCHEMES:
            raise ValueError("must be embedded, redis://HOST:6379/0, rediss://… or unix:///SOCKET")
        return value


class WorkerSettings(Section):
    """`[worker]`: how workers hold work. All processes of a store need the same values."""

    #: Seconds that a claimed batch stays a worker's without a sign of life from it. With a tick and
    #: what a commit takes, a killed worker's work goes on within half a minute.
    lease_s: float = Field(default=25, ge=5, le=600)
    #: Seconds after which a released batch that no worker has claimed is put into Redis again.
    requeue_after_s: float = Field(default=25, ge=1, le=3600)
    #: Status requests in flight at once, besides the submissions.
    max_polls: int = Field(default=8, ge=1, le=1000)
    #: Seconds, after a request's deadline and one more time-out, before its doubtful recipients are
    #: looked for in the provider's list; also between the first two looks.
    reconcile_after_s: float = Field(default=300, gt=0, le=86_400)
    #: Seconds that released batches wait, while a worker takes nothing, before it ends itself.
    stall_after_s: float = Field(default=60, ge=5, le=3600)
    #: Where answers wait that the store does not take; by default beside a SQLite store, else in
    #: the user's state folder. A relative path is the configuration folder's.
    spill_dir: Path | None = None


class Settings(Section):
    """The whole configuration. Built once by `load_settings`, and handed to whoever needs it."""

    store: StoreSettings = StoreSettings()
    broker: BrokerSettings = BrokerSettings()
    worker: WorkerSettings = WorkerSettings()
    accounts: dict[str, SerializeAsAny[ProviderSettings]] = Field(default_factory=dict)

    _path: Path | None = PrivateAttr(default=None)
    _literal_secrets: tuple[str, ...] = PrivateAttr(default=())

    @property
    def path(self) -> Path | None:
        """The file that was read, absolute; None where the environment alone configures."""
        return self._path

    def account(self, name: str) -> ProviderSettings:
        """The settings of an account. Raises ConfigError with the nearest name and all of them."""
        try:
            return self.accounts[name]
        except KeyError:
            every = ", ".join(self.accounts) or "none"
            near = get_close_matches(name, self.accounts, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"there is no account {name!r} in the configuration",
                f"{guess}configured accounts: {every}",
            ) from None

    def find_problems(self) -> list[str]:
        """What is allowed but unwise, a sentence each, for `doctor`."""
        found = [] if self.accounts else ["no account is configured: nothing can be sent"]
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

    The environment's `DISPATCHER_…__…` variables win over the file. Raises ConfigError where there
    is no configuration or a key or value in it is wrong.
    """
    raw = read_config(path, environ)
    check_unknown_variables(raw, Settings)
    values = dict(raw.values)
    tables = values.pop("accounts", {})
    if not isinstance(tables, dict):
        raise ConfigError(
            f"{raw.name_place(('accounts',))}: must be a table, as in [accounts.main]"
        )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise config_error(error, raw, (), Settings) from None
    accounts = {name: _read_account(raw, name, table) for name, table in tables.items()}
    folder = raw.path.parent if raw.path is not None else Path.cwd()
    store = StoreSettings(url=_with_absolute_path(settings.store.url, folder))
    spill_dir = settings.worker.spill_dir
    worker = settings.worker.model_copy(update={"spill_dir": spill_dir and folder / spill_dir})
    settings = settings.model_copy(update={"accounts": accounts, "store": store, "worker": worker})
    settings._path = raw.path
    settings._literal_secrets = tuple(_literal_secrets(raw, settings))
    return settings


def _read_account(raw: RawConfig, name: str, table: object) -> ProviderSettings:
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
        return adapter.settings_type.model_validate(values)
    except ValidationError as error:
        raise config_error(error, raw, place, adapter.settings_type) from None


def _decode_json_values(model: type[BaseModel], table: Mapping[str, Any]) -> dict[str, Any]:
    """Lists and tables that came as one variable are JSON: `DISPATCHER_…__CHANNELS={"otp": 3}`."""
    decoded = dict(table)
    for key, value in table.items():
        field = model.model_fields.get(key)
        if field is None or get_origin(field.annotation) not in {dict, tuple}:
            continue
        if isinstance(value, dict):
            decoded[key] = {name: _from_json(item) for name, item in value.items()}
        else:
            decoded[key] = _from_json(value)
    return decoded


def _from_json(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # the key's own check then says what it wants


def _with_absolute_path(url: str, folder: Path) -> str:
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("sqlite"):
        return url
    name, mark, query = rest.removeprefix("/").partition("?")
    return f"{scheme}:///{folder / name}{mark}{query}"


def _literal_secrets(raw: RawConfig, settings: Settings) -> list[str]:
    """The places whose secret stands in the file itself."""
    places: list[Place] = [
        ("accounts", name, key)
        for name, account in settings.accounts.items()
        for key in type(account).model_fields
        if isinstance(getattr(account, key), SecretStr)
    ]
    for section, url in (("store", settings.store.url), ("broker", settings.broker.url)):
        if urlsplit(url).password:
            places.append((section, "url"))
    given_elsewhere = raw.references | raw.variables.keys()
    return [".".join(place) for place in places if place not in given_elsewhere]
