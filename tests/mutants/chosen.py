"""Which modules keep the promises, and which mutants of them are tried."""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.mutants.operators import Mutant, find_mutants

ROOT = Path(__file__).parents[2]
#: Modules by package; those of a package that are not here only read, show or describe.
MODULES = {
    "dispatcher/policy": [
        "backoff", "breaker", "concurrency", "fair_queue", "pacing", "rebatching",
        "reconciliation", "verdict",
    ],
    "dispatcher/windows": [
        "area_codes", "hours", "recipient_zones", "schedule", "syntax", "wall_clock", "zone_names",
    ],
    "dispatcher/store": [
        "accounts", "alternate_ids", "answers", "attempts", "batch_endings", "batches",
        "bundles", "campaign_search", "campaign_settings", "campaigns", "clocks", "decisions",
        "doubts",
        "drops", "due_work", "fallback_moves", "former_outcomes", "healing", "health", "imports",
        "late_answers", "locked_attempts", "locks", "lost_batches", "polls", "ranges", "receipts",
        "rechecks", "retries", "returns", "scheduler", "settlement", "stops", "store_adoption",
        "store_identity", "suppressions", "tick_lock", "tickets", "transitions",
    ],
    "dispatcher/outbound": [
        "connections", "departure", "fallback", "rates", "recheck", "release", "sweep",
    ],
    "dispatcher/recovery": ["adoption", "mark_file", "rollback_guard", "spill"],
    "workers/http": ["flight", "pace", "reads"],
    "workers/batch": [
        "begin", "begin_bundle", "bundle", "durable_write", "failures", "poll_schedule", "prepared",
        "rates", "requests", "settle", "turn",
    ],
    "workers/lists": ["doubt", "pages", "status_lookup"],
}  # fmt: skip
#: Files whose tests judge every mutant that they run into.
NEAR = ("tests/unit", "tests/integration")
#: Not these: they are about other things, or take long for what they tell of one line.
_NOT_NEAR = (
    "tests/unit/cli", "tests/unit/recipients", "tests/unit/test_", "tests/integration/cli",
    "tests/integration/local",
    "tests/integration/simulator", "tests/integration/test_mutants",
)  # fmt: skip
#: These are: commands that change what is sent, and to whom.
_COMMANDS = (
    "test_after_sending", "test_campaign_control", "test_campaign_drop", "test_campaign_set",
    "test_stop", "test_suppression",
)  # fmt: skip
#: For what no test nearby has noticed: tests over real processes, by package.
WIDER = {
    "dispatcher/outbound": ["test_connections", "test_windows_and_rates", "test_outages"],
    "dispatcher/recovery": ["test_restored_backup", "test_outages"],
    "workers": [
        "test_crashes", "test_doubt", "test_provider_faults", "test_account_health",
        "test_windows_and_rates", "test_outages", "test_connections",
    ],
}  # fmt: skip
_EQUIVALENT = Path(__file__).with_name("equivalent.toml")


@cache
def all_mutants() -> Sequence[Mutant]:
    """Every mutant of every module."""
    return [
        mutant
        for package, names in MODULES.items()
        for name in names
        for path in [f"{package}/{name}.py"]
        for mutant in find_mutants(path, (ROOT / path).read_bytes())
    ]


def choose(mutants: Sequence[Mutant], *, seed: int, most: int) -> list[Mutant]:
    """`most` of them (0: all), the same for the same seed; one of each function comes first."""
    if not most or most >= len(mutants):
        return list(mutants)
    # By a sum of each: a change of the code elsewhere draws hardly any others.
    shuffled = sorted(mutants, key=lambda mutant: (_sum_of(seed, mutant), mutant.start))
    by_function: defaultdict[tuple[str, str, str | None], list[Mutant]] = defaultdict(list)
    for mutant in shuffled:
        by_function[mutant.path, mutant.where, mutant.assigned].append(mutant)
    firsts = {group[0]: None for group in by_function.values()}
    rest = [mutant for mutant in shuffled if mutant not in firsts]
    return sorted([*firsts, *rest][:most], key=lambda m: (m.path, m.start, m.after))


def _sum_of(seed: int, mutant: Mutant) -> str:
    return hashlib.sha256(f"{seed} {mutant.key}".encode()).hexdigest()


def equivalents() -> dict[str, str]:
    """The reason by the key of each mutant that no test can notice."""
    given = tomllib.loads(_EQUIVALENT.read_text())
    reasons: dict[str, str] = {}
    for entry in given.get("same", []):
        for key in entry["mutants"]:
            reasons[key] = entry["reason"]
    return reasons


def near_files() -> list[str]:
    """The test files that are asked first."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in NEAR
        for path in (ROOT / folder).rglob("test_*.py")
    ]
    commands = tuple(f"tests/integration/cli/{name}.py" for name in _COMMANDS)
    return sorted(p for p in found if p in commands or not p.startswith(_NOT_NEAR))


def wider_files(mutant: Mutant) -> list[str]:
    """The test files that are asked last."""
    names = [
        name
        for package, names in WIDER.items()
        if mutant.path.startswith(f"{package}/")
        for name in names
    ]
    return [f"tests/acceptance/{name}.py" for name in dict.fromkeys(names)]
