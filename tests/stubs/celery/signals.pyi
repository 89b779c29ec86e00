from collections.abc import Callable
from typing import TypeVar

_Receiver = TypeVar("_Receiver", bound=Callable[..., None])

class _Signal:
    def connect(self, receiver: _Receiver) -> _Receiver: ...

after_setup_logger: _Signal
after_setup_task_logger: _Signal
beat_init: _Signal
celeryd_init: _Signal
task_postrun: _Signal
task_prerun: _Signal
task_received: _Signal
worker_init: _Signal
worker_ready: _Signal
worker_shutdown: _Signal
worker_shutting_down: _Signal

task_postrun: _Signal
task_prerun: _Signal
