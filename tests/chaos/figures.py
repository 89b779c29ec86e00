"""What a chaos run is asked to do, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.judge import Findings
from tests.chaos.rates import Busiest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: `seconds` of chaos over a store and a provider, drawn from `seed`."""

    seconds: float
    store: str
    provider: str
    seed: int
    #: How large campaigns are, and what waits, beside those of the long edition.
    size: float = 1.0


@dataclass
class Figures:
    """What came of a run. `folder` is kept where something was violated."""

    plan: Plan
    findings: Findings = field(default_factory=Findings)
    kills: int = 0
    kills_in_mid_request: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    own_exits: dict[str, int] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    #: Switches of a campaign to its other account.
    moves: int = 0
    #: Submissions and polls that arrived, and each provider's busiest second.
    requests: int = 0
    busiest: dict[str, Busiest] = field(default_factory=dict)
    settled_in_s: float = 0.0
    folder: Path | None = None

    @property
    def commands_run(self) -> int:
        """How many commands the operator ran."""
        counted = ("ended with", "killed commands")
        return sum(
            n for name, n in self.commands.items() if not any(word in name for word in counted)
        )

    def __str__(self) -> str:
        p, f = self.plan, self.findings
        return (
            f"{p.store} {p.provider} seed {p.seed}: {self.kills} kills, "
            f"{self.kills_in_mid_request} between attempt row and settlement, "
            f"{sum(self.faults.values())} faults, "
            f"{f.recipients} recipients, {f.accepted} accepted, "
            f"{f.doubles} doubles, {f.lost} lost, {f.doubtful} doubtful, "
            f"{f.resent} twice by decision; "
            f"{self.commands_run} commands, {self.moves} moves to another account; "
            f"{self.requests} requests{self._describe_rates()}; "
            f"settled in {self.settled_in_s:.0f} s"
        )

    def _describe_rates(self) -> str:
        return "".join(
            f", {name} {one.arrived} of {one.allowed:.1f} in its busiest second"
            for name, one in self.busiest.items()
        )
