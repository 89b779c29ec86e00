# Of Celery, which has no types, only what `workers/` uses: so a wrong name or argument is found.
from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar

from celery import signals as signals

_P = ParamSpec("_P")
_R = TypeVar("_R")

class _Config(Protocol):
    task_send_sent_event: bool
    def update(self, **settings: object) -> None: ...

class _Loader(Protocol):
    def import_task_module(self, module: str) -> object: ...

class _Connection(Protocol):
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

class Celery:
    conf: _Config
    loader: _Loader
    def __init__(self, main: str, *, amqp: str, set_as_current: bool) -> None: ...
    def connection(self) -> _Connection: ...
    def send_task(
        self, name: str, args: Sequence[int | str], *, queue: str, retry: bool, argsrepr: str
    ) -> object: ...
    def task(
        self,
        *,
        name: str,
        send_events: bool = True,
        throws: tuple[type[Exception], ...] = (),
    ) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
