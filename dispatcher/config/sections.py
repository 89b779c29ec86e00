"""What a table of the configuration is, and those besides the accounts and `[notify]`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dispatcher import urls
from dispatcher.logs.formats import LogFormat


class Section(BaseModel):
    """A table of keys. Unknown keys are refused, and errors never show values."""

    #: Built when used: most classes never are, or only as a part of another one.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=True,
    )


class StoreSettings(Section):
    """`[store]`: the database; an SQLite path is relative to the configuration file."""

    url: str = Field(default="sqlite:///dispatcher.db", repr=False)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        urls.check_store_url(value)
        return value


class BrokerSettings(Section):
    """`[broker]`: the Redis server that carries due work; `embedded` means our private server."""

    url: str = Field(default="embedded", repr=False)
    #: The certificates (PEM) of the authority that signed those of a rediss:// server, or of the
    #: servers of sentinels://; by default those that this machine trusts. Relative to the
    #: configuration file.
    ca_file: Path | None = None

    def with_paths_in(self, folder: Path) -> Self:
        """The same, with paths in `folder` where they are relative."""
        return self.model_copy(update={"ca_file": self.ca_file and folder / self.ca_file})

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value != "embedded":
            urls.check_broker_url(value)
        return value

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, value: Path | None) -> Path | None:
        return _check_printable_path(value)


class LogSettings(Section):
    """`[log]`: how the lines of workers, beat, `metrics` and `receiver` are written."""

    format: LogFormat = "auto"


class WorkerSettings(Section):
    """`[worker]`: how workers hold work. All processes of a store need the same values."""

    #: Seconds after which the batches of a worker that shows no sign of life are taken from it.
    lease_s: float = Field(default=25, ge=5, le=600)
    #: Seconds after which a released batch that no worker has claimed is put into Redis again.
    requeue_after_s: float = Field(default=25, ge=1, le=3600)
    #: Polls in flight at a time, besides the submissions.
    max_polls: int = Field(default=8, ge=1, le=1000)
    #: Threads of a worker process at most, or as many as its polls and 8 submissions need.
    max_threads: int = Field(default=200, ge=16, le=5000)
    #: Connections to the store that a worker process opens at most; its threads share them.
    max_connections: int = Field(default=50, ge=4, le=1000)
    #: Seconds from a request's deadline, plus one timeout, to the first two scans for its doubts.
    reconcile_after_s: float = Field(default=300, gt=0, le=86_400)
    #: Seconds that released batches may wait while a worker takes none; then it ends itself.
    stall_after_s: float = Field(default=60, ge=5, le=3600)
    #: The folder for answers that the store cannot take yet; by default beside an SQLite store,
    #: else in the user's state folder. Relative to the configuration file.
    spill_dir: Path | None = None
    #: Where each worker process serves its own metrics: nowhere without a port. Those of
    #: `dispatcher up` take this port and the following ones.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)

    def with_paths_in(self, folder: Path) -> Self:
        """The same, with paths in `folder` where they are relative."""
        return self.model_copy(update={"spill_dir": self.spill_dir and folder / self.spill_dir})

    @field_validator("spill_dir")
    @classmethod
    def _check_spill_dir(cls, value: Path | None) -> Path | None:
        return _check_printable_path(value)


class ReceiverSettings(Section):
    """`[receiver]`: where `dispatcher receiver` listens for what providers push."""

    host: str = "127.0.0.1"
    #: Where it is set, `dispatcher up` runs the receiver too.
    port: int | None = Field(default=None, ge=1, le=65_535)
    #: Its address as providers reach it, through a proxy perhaps.
    url: str | None = None
    #: A certificate and its key (PEM), for TLS. Relative to the configuration file.
    certificate_file: Path | None = None
    key_file: Path | None = None

    def with_paths_in(self, folder: Path) -> Self:
        """The same, with paths in `folder` where they are relative."""
        return self.model_copy(
            update={
                "certificate_file": self.certificate_file and folder / self.certificate_file,
                "key_file": self.key_file and folder / self.key_file,
            }
        )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            urls.check_base_url(value)
        return value if value is None else value.rstrip("/")

    @field_validator("certificate_file", "key_file")
    @classmethod
    def _check_files(cls, value: Path | None) -> Path | None:
        return _check_printable_path(value)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("give `certificate_file` and `key_file`, or neither")
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_printable_path(value: Path | None) -> Path | None:
    if value is not None and not str(value).isprintable():
        raise ValueError("must not contain line breaks, tabs or other invisible characters")
    return value
