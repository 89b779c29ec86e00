"""What a check of `dispatcher doctor` found."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found about a part; `remedy` says what to do about a problem.

    `ok` is false for what keeps messages from being sent, or risks them; `is_warning` marks what
    will do so unless somebody acts.
    """

    part: str
    ok: bool
    what: str
    remedy: str | None = None
    is_warning: bool = False

    @property
    def level(self) -> str:
        """`green`, `yellow` or `red`."""
        if not self.ok:
            return "red"
        return "yellow" if self.is_warning else "green"

    def as_json(self) -> dict[str, Any]:
        """The result as `doctor --json` prints it."""
        given = asdict(self)
        del given["is_warning"]
        return {**given, "level": self.level}
