"""`python -m tests.mutants`: tries mutants, shows those that no test notices, and the score."""

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections import Counter

from tests.mutants import chosen
from tests.mutants.operators import Mutant
from tests.mutants.reach import Reach, Users, sum_of
from tests.mutants.record import Record, sum_of_tests
from tests.mutants.trial import Bench, Trial, open_benches, spread, try_mutant

#: What is kept between runs; not in version control.
KEPT = chosen.ROOT / ".mutants"
_TRACE_S = 600.0
#: The share of mutants that must be noticed, in percent.
ENOUGH = 95.0


def main() -> int:
    """Run; 1 with CHECK=1 where too few were noticed."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    began = time.monotonic()
    reasons = chosen.equivalents()
    everything = chosen.all_mutants()
    wanted = [m for m in everything if _is_wanted(m, given.only)]
    if not wanted:
        sys.exit(f"no mutant is in {', '.join(given.only)}")
    mutants = chosen.choose(wanted, seed=given.seed, most=given.most)
    mutants = [mutant for mutant in mutants if mutant.key not in reasons]
    print(f"{len(mutants)} of {len(wanted)} mutants, seed {given.seed}", flush=True)
    if given.list:
        for mutant in mutants:
            print(f"{mutant.line} {mutant.operator} {mutant.key}")
        return 0
    asked = ["near" if given.near else "wider", str(given.seconds)]
    record = Record(KEPT / "tried.tsv", chosen.ROOT, sum_of_tests(chosen.ROOT / "tests", asked))
    trials = record.find(mutants) if given.resume else []
    known = {trial.mutant for trial in trials}
    left = [mutant for mutant in mutants if mutant not in known]
    with open_benches(given.jobs) as benches:
        reach = _measure(benches, anew=given.measure)
        trials += _try_all(benches, left, reach, record, given)
    print(f"{time.monotonic() - began:.0f} s in all; the mutants that survived:")
    for trial in trials:
        if trial.killed_by is None:
            print(f"    {trial.mutant.key}")
    score = print_score(trials)
    return int(bool(os.environ.get("CHECK")) and score < ENOUGH)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", help="a file or folder, as dispatcher/store")
    parser.add_argument("--seed", type=int, default=1, help="which are drawn (default: 1)")
    parser.add_argument("--most", type=int, default=600, help="how many (default: 600; 0: all)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--near", action="store_true", help="without tests of real processes")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="of tests for each mutant (default: all)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run was ended")
    parser.add_argument("--measure", action="store_true", help="measure the tests' reach anew")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--killers", action="store_true", help="show what noticed each mutant")
    return parser


def _is_wanted(mutant: Mutant, only: list[str] | None) -> bool:
    return not only or any(f"{mutant.path}:{mutant.where}".startswith(one) for one in only)


def _measure(benches: list[Bench], *, anew: bool) -> Reach:
    """Which tests run into which functions: of a file that was measured before, as it was then."""
    files = chosen.near_files()
    (folder := KEPT / "reach").mkdir(parents=True, exist_ok=True)
    kept = {path: folder / f"{sum_of(chosen.ROOT, path)}.json" for path in files}
    missing = [path for path in files if anew or not kept[path].exists()]

    def measure(bench: Bench, path: str) -> None:
        seen = bench.run([path], limit_s=_TRACE_S, traces=True)
        if not seen["in_time"] or seen["code"] not in {0, 1, 5}:
            print(f"not measured: {path}: {seen['log'][-500:]}", flush=True)
            return
        for test in seen["failed"]:
            print(f"left out, since it fails without a mutant: {test}", flush=True)
        del seen["log"]
        kept[path].write_text(json.dumps(seen))

    if missing:
        print(f"measuring what the tests of {len(missing)} files run into", flush=True)
        spread(benches, missing, measure)
    reach = Reach()
    for path in kept.values():
        if path.exists():
            reach.add(json.loads(path.read_text()))
    return reach


def _try_all(
    benches: list[Bench],
    mutants: list[Mutant],
    reach: Reach,
    record: Record,
    given: argparse.Namespace,
) -> list[Trial]:
    users = Users(chosen.ROOT, _paths())
    trials: list[Trial] = []
    lock = threading.Lock()

    def attempt(bench: Bench, mutant: Mutant) -> None:
        trial = try_mutant(
            bench, mutant, reach, users, goes_wider=not given.near, most_s=given.seconds
        )
        with lock:
            trials.append(trial)
            record.add(trial)
            if trial.killed_by is None or given.killers:
                print_trial(trial, f"{len(trials)}/{len(mutants)}")

    # What costs little comes first, so that most survivors are seen soon.
    costs = {m.key: sum(reach.seconds[t] for t in reach.tests_of(m, users)) for m in mutants}
    spread(benches, sorted(mutants, key=lambda m: costs[m.key]), attempt)
    return trials


def _paths() -> set[str]:
    return {
        path.relative_to(chosen.ROOT).as_posix()
        for package in ("dispatcher", "workers")
        for path in (chosen.ROOT / package).rglob("*.py")
    }


def print_trial(trial: Trial, count: str) -> None:
    """A mutant: where it is, before and after, and what noticed it."""
    mutant = trial.mutant
    fate = "SURVIVED" if trial.killed_by is None else f"killed by {trial.killed_by}"
    print(
        f"[{count}] {mutant.path}:{mutant.line} {mutant.where} ({mutant.operator}): {fate}, "
        f"{trial.tests} tests, {trial.took_s:.0f} s"
    )
    if trial.killed_by is None:
        print(f"    - {' '.join(mutant.before.split())}\n    + {' '.join(mutant.after.split())}")
    sys.stdout.flush()


def print_score(trials: list[Trial]) -> float:
    """The score of each package and of all, in percent."""
    total, killed = Counter[str](), Counter[str]()
    for trial in trials:
        package = trial.mutant.path.rpartition("/")[0]
        total[package] += 1
        killed[package] += trial.killed_by is not None
    for package in sorted(total):
        share = 100 * killed[package] / total[package]
        print(f"{package}: {killed[package]} of {total[package]} killed, {share:.1f} %")
    score = 100 * killed.total() / total.total() if trials else 100.0
    print(f"all: {killed.total()} of {total.total()} killed, {score:.1f} %")
    return score


if __name__ == "__main__":
    sys.exit(main())
