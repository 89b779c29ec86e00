"""The accounts of a rehearsal: as configured, but at the simulator, and without any secret."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr

from dispatcher.config.sections import StoreSettings
from dispatcher.config.settings import Settings, read_account
from dispatcher.config.sources import RawConfig, is_table, read_config
from dispatcher.errors import ConfigError, Unsupported, UsageProblem
from dispatcher.providers import provider_class
from dispatcher.providers.shared.settings import ProviderSettings

#: Stands for every key, token and password.
_KEY: Final = "rehearsal"
_OF_PLACES: Final = frozenset({"DISPATCHER_CONFIG", "XDG_CONFIG_HOME", "HOME"})


def rehearsal_settings(
    path: Path | None, environ: Mapping[str, str], base_urls: Mapping[str, str], store_url: str
) -> Settings:
    """The configured accounts, at the base URLs of the simulated providers, and another store.

    No key is read, so none has to be set. Store, broker, workers and notices keep their defaults.
    Raises ConfigError, and Unsupported for a provider that has no simulator.
    """
    raw = read_config(path, WithoutGaps(environ))
    tables = raw.values.get("accounts", {})
    if not is_table(tables):
        raise ConfigError(
            f"{raw.name_place(('accounts',))}: must be a table, as in [accounts.main]"
        )
    accounts = {name: _simulated(raw, name, table, base_urls) for name, table in tables.items()}
    return Settings(store=StoreSettings(url=store_url)).model_copy(update={"accounts": accounts})


def open_for_rehearsal(settings: ProviderSettings, faster: float) -> ProviderSettings:
    """An account that is always open and `faster` times as fast; receipts are asked for at once.

    Times and daily limits are what a forecast is for.
    """
    rates = {
        name: value * faster
        for name in ("messages_per_second", "parts_per_second", "requests_per_second")
        if (value := getattr(settings, name)) is not None
    }
    at_once = {"poll_first_s": 1.0, "poll_max_s": 3.0, "validity_hours": 0.003}
    return settings.model_copy(
        update={**rates, **at_once, "windows": (), "kind_windows": {}, "daily_limit": None}
    )


def write_config(settings: Settings, path: Path) -> None:
    """Write store and accounts as the configuration file of a rehearsal's processes."""
    lines = ["[store]", f"url = {_toml_value(settings.store.url)}"]
    for name, account in settings.accounts.items():
        lines.append(f"[accounts.{_toml_value(name)}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in _plain_values(account)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class WithoutGaps(dict[str, str]):
    """Environment variables; a missing one has a value, but not those that say where files are."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, default) if name in _OF_PLACES else super().get(name) or _KEY


def _simulated(
    raw: RawConfig, name: str, table: object, base_urls: Mapping[str, str]
) -> ProviderSettings:
    """The settings of an account with the simulator's URL; nothing else of it is built before."""
    provider = table.get("provider") if is_table(table) else None
    if not is_table(table) or not isinstance(provider, str):
        return read_account(raw, name, table)
    try:
        fields = provider_class(provider).settings_type.model_fields
    except UsageProblem:
        return read_account(raw, name, table)
    if provider not in base_urls:
        raise Unsupported(
            f"account {name}: its provider {provider} cannot be rehearsed, it has no simulator",
            f"these have one: {', '.join(base_urls)}",
        )
    secrets = {key for key, field in fields.items() if _is_secret(field.annotation)}
    replaced = {**dict.fromkeys(secrets, _KEY), "base_url": base_urls[provider]}
    kept = {key: value for key, value in table.items() if key != "proxy"}
    return read_account(raw, name, {**kept, **replaced})


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _plain_values(account: ProviderSettings) -> Iterator[tuple[str, object]]:
    for key, value in account.model_dump(mode="json", exclude_none=True).items():
        yield key, _KEY if isinstance(getattr(account, key), SecretStr) else value


def _toml_value(value: object) -> str:
    """A value in TOML, whose strings, numbers and lists are written as in JSON."""
    if is_table(value):
        pairs = (f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, str) and value.startswith("$"):
        value = f"${value}"  # else it would be the name of a variable
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
