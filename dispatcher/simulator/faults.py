"""The faults that can be switched on: their names, their stages, and which ones strike a request.

`spoiling` carries out what concerns the connection, `families` a provider's words and shapes.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypedDict, cast

from dispatcher.errors import UsageProblem


class CallKind(StrEnum):
    """What a request is for; a fault strikes calls of one kind, or of `any`."""

    SUBMIT = "submit"
    STATUS = "status"
    LOOKUP = "lookup"


class Stage(StrEnum):
    """When a fault strikes."""

    #: Before the request is read: it is not accepted.
    BEFORE = "before"
    #: The request is handled late.
    DELAY = "delay"
    #: The answer has another shape.
    SHAPE = "shape"
    #: After the request was accepted: its answer is spoilt.
    AFTER = "after"


class FaultParams(TypedDict, total=False):
    """The parameters of a fault; each fault has some of these."""

    #: Milliseconds of `slow`.
    ms: float
    seconds: float
    status: int
    retry_after: float
    #: Of `Retry-After`: "seconds", "date" (RFC 9110, 10.2.3) or "none".
    form: str
    location: str
    text: str
    #: Of the recipients, from 0 to 1.
    share: float


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A fault's stage, the calls that it strikes by default, and the defaults of its parameters."""

    stage: Stage
    on: str
    params: FaultParams = field(default_factory=FaultParams)


_SUBMIT, _STATUS, _ANY = CallKind.SUBMIT.value, CallKind.STATUS.value, "any"
FAULTS: Final = MappingProxyType(
    {
        "slow": FaultKind(Stage.DELAY, _ANY, {"ms": 500}),
        "hang_before": FaultKind(Stage.DELAY, _SUBMIT, {"seconds": 120}),
        "reset_before": FaultKind(Stage.BEFORE, _SUBMIT),
        "error_before": FaultKind(Stage.BEFORE, _SUBMIT, {"status": 503}),
        "html_before": FaultKind(Stage.BEFORE, _SUBMIT, {"status": 200}),
        "throttled": FaultKind(Stage.BEFORE, _SUBMIT, {"retry_after": 1, "form": "seconds"}),
        "not_found": FaultKind(Stage.BEFORE, _SUBMIT),
        "too_large": FaultKind(Stage.BEFORE, _SUBMIT),
        "redirect": FaultKind(Stage.BEFORE, _SUBMIT, {"location": "https://example.invalid/"}),
        "credentials": FaultKind(Stage.BEFORE, _SUBMIT, {"status": 200}),
        "credit": FaultKind(Stage.BEFORE, _SUBMIT, {"status": 200}),
        "refused_before": FaultKind(
            Stage.BEFORE, _SUBMIT, {"status": 200, "text": "Route Temporarily Closed"}
        ),
        "hang_after": FaultKind(Stage.AFTER, _SUBMIT, {"seconds": 120}),
        "reset_after": FaultKind(Stage.AFTER, _SUBMIT),
        "eof_after": FaultKind(Stage.AFTER, _SUBMIT),
        "error_after": FaultKind(Stage.AFTER, _SUBMIT, {"status": 502}),
        "html_after": FaultKind(Stage.AFTER, _SUBMIT, {"status": 200}),
        "truncated": FaultKind(Stage.AFTER, _SUBMIT),
        "refused_after": FaultKind(
            Stage.AFTER, _SUBMIT, {"status": 200, "text": "Route Temporarily Closed"}
        ),
        "missing": FaultKind(Stage.SHAPE, _SUBMIT, {"share": 0.1}),
        "doubled": FaultKind(Stage.SHAPE, _SUBMIT),
        "reordered": FaultKind(Stage.SHAPE, _SUBMIT),
        "short": FaultKind(Stage.SHAPE, _SUBMIT),
        "single_object": FaultKind(Stage.SHAPE, _STATUS),
        "recipient_field": FaultKind(Stage.SHAPE, _STATUS),
        "status_error": FaultKind(Stage.SHAPE, _STATUS),
        "status_case": FaultKind(Stage.SHAPE, _STATUS),
        "ten_digit": FaultKind(Stage.SHAPE, _ANY),
        "code_string": FaultKind(Stage.SHAPE, _ANY),
        "some_refused": FaultKind(Stage.SHAPE, _SUBMIT, {"share": 0.1}),
        "invalid_left_out": FaultKind(Stage.SHAPE, _SUBMIT, {"share": 0.1}),
        "no_data": FaultKind(Stage.SHAPE, _SUBMIT),
        "status_field": FaultKind(Stage.SHAPE, _ANY),
        "status_suffix": FaultKind(Stage.SHAPE, _ANY),
        "unknown_code": FaultKind(Stage.SHAPE, _SUBMIT, {"share": 0.1}),
        "shared_id": FaultKind(Stage.SHAPE, _SUBMIT),
        "bare_array": FaultKind(Stage.SHAPE, _ANY),
        "created": FaultKind(Stage.SHAPE, _SUBMIT),
        "inbound": FaultKind(Stage.SHAPE, CallKind.LOOKUP.value),
        "undated": FaultKind(Stage.SHAPE, CallKind.LOOKUP.value),
        "currency": FaultKind(Stage.SHAPE, CallKind.LOOKUP.value),
    }
)


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that is switched on, for one provider or all, for `count` requests or at `rate`."""

    name: str
    provider: str | None = None
    on: str = _SUBMIT
    rate: float = 1.0
    count: int | None = None
    params: FaultParams = field(default_factory=FaultParams)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "Fault":
        """Read `{fault, provider?, on?, rate?, count?, params?}`. Raises UsageProblem."""
        name = data.get("fault")
        kind = FAULTS.get(name) if isinstance(name, str) else None
        if kind is None or not isinstance(name, str):
            raise UsageProblem(f"there is no fault {name!r}", f"known: {', '.join(FAULTS)}")
        _check_unknown(name, data, {"fault", "provider", "on", "rate", "count", "params"})
        provider = data.get("provider")
        if not isinstance(provider, str | None):
            raise UsageProblem(f"`provider` must be a name, not {provider!r}")
        on = data.get("on", kind.on)
        if not isinstance(on, str) or on not in {*CallKind, _ANY}:
            raise UsageProblem(f"`on` must be {', '.join(CallKind)} or any, not {on!r}")
        rate, count = data.get("rate", 1.0), data.get("count")
        if not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise UsageProblem(f"`rate` must lie between 0 and 1, not {rate!r}")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise UsageProblem(f"`count` must be a whole number above 0, not {count!r}")
        return cls(
            name=name,
            provider=provider,
            on=on,
            rate=float(rate),
            count=count,
            params=_read_params(name, kind, data.get("params") or {}),
        )


def _read_params(name: str, kind: FaultKind, given: object) -> FaultParams:
    """The defaults of `kind` with the `given` parameters. Raises UsageProblem."""
    if not isinstance(given, dict):
        raise UsageProblem(f"`params` of fault {name} must be an object")
    _check_unknown(name, given, kind.params)
    for key, default in kind.params.items():
        value = given.get(key, default)
        if not isinstance(value, str if isinstance(default, str) else int | float):
            raise UsageProblem(f"`{key}` of fault {name} cannot be {value!r}")
    return cast("FaultParams", {**kind.params, **given})


def _check_unknown(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := {*given} - {*known}:
        raise UsageProblem(f"fault {name} takes no {', '.join(sorted(unknown))}")


class RequestFaults:
    """The faults that strike one request."""

    def __init__(self, faults: Mapping[str, FaultParams], rng: random.Random) -> None:
        self._faults = faults
        self._rng = rng

    def __contains__(self, name: str) -> bool:
        return name in self._faults

    def params_of(self, name: str) -> FaultParams | None:
        """The parameters of fault `name`; None where it does not strike."""
        return self._faults.get(name)

    def first_of_stage(self, stage: Stage) -> tuple[str, FaultParams] | None:
        """The first fault of `stage` that strikes, with its parameters; None without one."""
        return next(
            ((name, p) for name, p in self._faults.items() if FAULTS[name].stage is stage), None
        )

    @property
    def hiding_fault(self) -> str | None:
        """The fault that hides from the client that its request was accepted; None without one."""
        late = self.first_of_stage(Stage.AFTER)
        return late[0] if late else "hang_before" if "hang_before" in self else None

    def choose_indexes(self, name: str, indexes: Sequence[int]) -> frozenset[int]:
        """The share of `indexes` that fault `name` strikes, at least one; none where it is off."""
        params = self.params_of(name)
        if not params or not indexes:
            return frozenset()
        count = min(len(indexes), max(1, int(len(indexes) * params["share"])))
        return frozenset(self._rng.sample(indexes, count))

    def arrange_rows(self, indexes: list[int]) -> list[int]:
        """`indexes` of an answer's rows, after the faults `missing`, `doubled` and `reordered`."""
        gone = self.choose_indexes("missing", indexes)
        indexes = [index for index in indexes if index not in gone]
        if "doubled" in self:
            indexes = indexes * 2
        if "reordered" in self:
            indexes = self._rng.sample(indexes, len(indexes))
        return indexes


class FaultBoard:
    """The faults that are switched on. With one seed, the same requests meet the same faults."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._faults: list[Fault] = []
        self._nothing = RequestFaults({}, self._rng)

    def switch_on(self, fault: Fault) -> None:
        """Switch `fault` on."""
        self._faults.append(fault)

    def switch_all_off(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def as_list(self) -> list[dict[str, object]]:
        """The faults that are switched on, as JSON."""
        return [
            {
                "fault": fault.name,
                "provider": fault.provider,
                "on": fault.on,
                "rate": fault.rate,
                "count": fault.count,
                "params": fault.params,
            }
            for fault in self._faults
        ]

    def draw_faults(self, provider: str, kind: CallKind, counted: Counter[str]) -> RequestFaults:
        """The faults that strike this request; adds them to `counted`, uses up their `count`."""
        if not self._faults:
            return self._nothing
        struck: dict[str, FaultParams] = {}
        for fault in self._faults:
            if fault.provider not in {None, provider} or fault.on not in {kind, _ANY}:
                continue
            if fault.name in struck or (fault.rate < 1 and self._rng.random() >= fault.rate):
                continue
            struck[fault.name] = fault.params
            counted[fault.name] += 1
            if fault.count is not None:
                fault.count -= 1
        self._faults = [fault for fault in self._faults if fault.count != 0]
        return RequestFaults(struck, self._rng)
