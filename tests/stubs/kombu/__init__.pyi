# Of kombu, which has no types, only what `workers/` uses.
from typing import Any

Connection: Any

class Exchange:
    def __init__(self, name: str, kind: str, /) -> None: ...

class Queue:
    def __init__(self, name: str, exchange: Exchange, routing_key: str) -> None: ...
