"""What every simulated provider is: a base path, checks, answers to calls. No sockets."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

import orjson

from dispatcher.simulator.faults import CallKind, RequestFaults
from dispatcher.simulator.ledger import LedgerRow
from dispatcher.simulator.receipts import Fate
from dispatcher.simulator.state import SimulatorState

#: Digits with country code. Ten digits that start with 6 to 9 are an Indian number without it,
#: unless they start with the code of a country that has such short numbers.
_NUMBER: Final = re.compile(r"(?!(?!65|960|961)[6-9][0-9]{9}$)[1-9][0-9]{7,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `path` follows the base URL; `arrived` is the Unix time of the headers."""

    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, object]
    arrived: float
    faults: RequestFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer, before any fault spoils it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: object, status: int = 200) -> "Reply":
        """`data` as a JSON body."""
        return cls(body=orjson.dumps(data), status=status)


class Refusal(Exception):
    """A refusal by the provider. `malformed` says how the request breaks the document, if so."""

    def __init__(self, reply: Reply, malformed: str | None = None) -> None:
        super().__init__(malformed)
        self.reply = reply
        self.malformed = malformed


class Family(ABC):
    """One simulated provider. It checks calls as strictly as the provider's document is written."""

    #: First part of its paths; None: the provider's name.
    path_name: ClassVar[str | None] = None
    #: Path between `/NAME/` and the commands, as in the provider's own base URL.
    base_path: ClassVar[str]
    #: The balance of an account at the start, by package.
    balances: ClassVar[Mapping[str, int]]
    #: Whether it pushes receipts and replies to a callback URL.
    pushes: ClassVar[bool] = False
    #: The provider's texts for a bad key and for an empty balance.
    credentials_text: ClassVar[str]
    credit_text: ClassVar[str]

    def __init__(self, name: str, state: SimulatorState) -> None:
        self.name = name
        self.state = state

    @abstractmethod
    def classify_call(self, method: str, path: str) -> CallKind:
        """What a call is for; a fault strikes calls of one kind."""

    @abstractmethod
    def answer_call(self, call: Call) -> Reply:
        """Carry out `call`. Raises Refusal."""

    @abstractmethod
    def error_reply(self, text: str, status: int) -> Reply:
        """A refusal in the provider's form."""

    def pushed_receipt(self, row: LedgerRow, fate: Fate) -> Mapping[str, str]:
        """What it pushes about a message (where `pushes`)."""
        raise NotImplementedError

    def pushed_reply(self, number: str, text: str) -> Mapping[str, str]:
        """What it pushes about a reply (where `pushes`)."""
        raise NotImplementedError

    def malformed_refusal(self, reason: str, text: str, status: int = 422) -> Refusal:
        """For a request that breaks the document: `reason` is for us, `text` for the client."""
        return Refusal(self.error_reply(text, status), malformed=reason)

    def check_fields(self, call: Call, *known: str) -> None:
        """Raise Refusal where the call has a field that the document does not name."""
        unknown = {*call.fields} - {*known}
        if unknown:
            raise self.malformed_refusal(f"unknown field {min(unknown)[:40]}", "Invalid field")

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
        """`value`, a number or a string, as one of the `allowed` digits. Raises Refusal."""
        if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) != 1:
            raise self.malformed_refusal(f"{name} is missing or of another type", f"Invalid {name}")
        if str(value) not in allowed:
            raise self.malformed_refusal(
                f"{name} is not one of {', '.join(allowed)}", f"Invalid {name}"
            )
        return int(value)


def show_number(call: Call, number: str) -> str:
    """`number` as the answer prints it: without its country code under fault `ten_digit`."""
    return number[-10:] if "ten_digit" in call.faults else number
