"""What a run has found so far, in a file, so that a run that was ended goes on where it was."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.operators import Mutant
from tests.mutants.trial import Trial

_SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Record:
    """Lines of fingerprint, fate and key. `tests_sum` is a sum of the tests that are asked now."""

    path: Path
    root: Path
    tests_sum: str

    def add(self, trial: Trial) -> None:
        """Write it at once."""
        fate = trial.killed_by or f"{_SURVIVED} {self.tests_sum}"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self._fingerprint(trial.mutant)}\t{fate}\t{trial.mutant.key}\n")

    def find(self, mutants: Iterable[Mutant]) -> list[Trial]:
        """Those that were killed, and those that survived the tests as they are now."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        fates = dict(line.split("\t")[:2] for line in lines)
        trials = []
        for mutant in mutants:
            fate = fates.get(self._fingerprint(mutant), _SURVIVED)
            if not fate.startswith(_SURVIVED):
                trials.append(Trial(mutant, fate, 0, 0.0))
            elif fate == f"{_SURVIVED} {self.tests_sum}":
                trials.append(Trial(mutant, None, 0, 0.0))
        return trials

    def _fingerprint(self, mutant: Mutant) -> str:
        """The same while the file with the mutant is the same."""
        text = mutant.apply_to((self.root / mutant.path).read_bytes())
        return hashlib.sha256(mutant.path.encode() + text).hexdigest()[:20]


def sum_of_tests(folder: Path, asked: Sequence[str]) -> str:
    """The same while all tests in `folder`, and what is `asked` of them, are the same."""
    made = hashlib.sha256(" ".join(asked).encode())
    for path in sorted(folder.rglob("*.py")):
        made.update(path.read_bytes())
    return made.hexdigest()[:16]
