"""What every simulated provider is: a base path, checks, answers to calls. No sockets here."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import orjson

from dispatcher.simulator.faults import CallKind, RequestFaults
from dispatcher.simulator.state import SimulatorState

#: Digits with country code. Ten digits from 6 to 9 on are an Indian number without it, unless they
#: start with the code of a country with such short numbers.
_NUMBER: Final = re.compile(r"(?!(?!65|960|961)[6-9][0-9]{9}$)[1-9][0-9]{7,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: `path` is what follows the base URL, `arrived` the Unix time of its headers."""

    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    arrived: float
    faults: RequestFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer, before any fault spoils it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: Any, status: int = 200) -> "Reply":
        """`data` as a JSON body."""
        return cls(body=orjson.dumps(data), status=status)


class Refusal(Exception):
    """The provider says no. `malformed` holds the reason where the request breaks its document."""

    def __init__(self, reply: Reply, malformed: str | None = None) -> None:
        super().__init__(malformed)
        self.reply = reply
        self.malformed = malformed


class Family(ABC):
    """One provider, played: checks a call as strictly as its document is written."""

    #: First part of its paths, where it is not the provider's name.
    path_name: ClassVar[str | None] = None
    #: Path between `/NAME/` and the commands, as in the provider's own base URL.
    base_path: ClassVar[str]
    #: What an account holds at the start, by package.
    balances: ClassVar[Mapping[str, int]]
    #: The provider's words for a bad key, and for an empty balance.
    credentials_text: ClassVar[str]
    credit_text: ClassVar[str]

    def __init__(self, name: str, state: SimulatorState) -> None:
        self.name = name
        self.state = state

    @abstractmethod
    def classify_call(self, method: str, path: str) -> CallKind:
        """What a call is for (faults are bound to kinds)."""

    @abstractmethod
    def answer_call(self, call: Call) -> Reply:
        """Carry out `call`. Raises Refusal."""

    @abstractmethod
    def error_reply(self, text: str, status: int) -> Reply:
        """A refusal in the provider's form."""

    def malformed_refusal(self, reason: str, text: str, status: int = 422) -> Refusal:
        """A request that breaks the document: `reason` for us, `text` for the client."""
        return Refusal(self.error_reply(text, status), malformed=reason)

    def read_number(self, value: object, name: str) -> str:
        """`value` as digits with country code. Raises Refusal."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.malformed_refusal(f"{name} is missing or of another type", f"Invalid {name}")
        number = str(value)
        if _NUMBER.fullmatch(number) is None:
            raise self.malformed_refusal(
                f"a {name} is not digits with country code", f"Invalid {name}"
            )
        return number

    def read_text(self, value: object, name: str) -> str:
        """`value` as a text that is not blank. Raises Refusal."""
        if not isinstance(value, str) or not value.strip():
            reason = (
                "is missing or empty" if isinstance(value, str | None) else "is of another type"
            )
            raise self.malformed_refusal(f"{name} {reason}", f"The {name} field is required")
        return value

    def read_choice(self, value: object, name: str, allowed: str) -> int:
        """`value` as one of the `allowed` digits, be it a number or a string. Raises Refusal."""
        if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) != 1:
            raise self.malformed_refusal(f"{name} is missing or of another type", f"Invalid {name}")
        if str(value) not in allowed:
            raise self.malformed_refusal(
                f"{name} is none of {', '.join(allowed)}", f"Invalid {name}"
            )
        return int(value)
