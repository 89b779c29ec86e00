"""What the simulator knows about all providers: keys, balances, and what was accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.simulator.faults import FaultBoard, RequestFaults
from dispatcher.simulator.ledger import Ledger
from dispatcher.simulator.receipts import ReceiptPlan, Receipts, is_left_out
from dispatcher.simulator.stats import Stats

#: The key that every provider refuses, even if it is among the given keys.
BAD_KEY: Final = "bad-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Recipients that passed a provider's checks.

    `numbers` are digits, one text each; `ids` one provider message id each; `details` goes into
    every row of the ledger (sender_id, job_id and what else the request carried).
    """

    provider: str
    arrived: float
    numbers: Sequence[str]
    texts: Sequence[str]
    ids: Sequence[str]
    details: Mapping[str, object]
    faults: RequestFaults


class SimulatorState:
    """The memory of one simulator. `begin_run` starts anew; jobs, keys and serials go on."""

    def __init__(
        self, *, plan: ReceiptPlan, seed: int, keys: Sequence[str], ledger: Path | None
    ) -> None:
        self.seed = seed
        self._keys = frozenset(keys)
        self.receipts = Receipts(plan, seed)
        self.ledger = Ledger(ledger)
        self.faults = FaultBoard(seed)
        self.stats = Stats()
        self.balances: dict[str, dict[str, int]] = {}

    def knows_key(self, key: str) -> bool:
        """Whether `key` opens an account: one of the given keys, or any but the bad one."""
        return bool(key) and key != BAD_KEY and (not self._keys or key in self._keys)

    def charge_balance(self, provider: str, package: str, amount: int) -> bool:
        """Take `amount` from a balance; False, with nothing taken, where it is too low."""
        left = self.balances[provider][package] - amount
        if left < 0:
            return False
        self.balances[provider][package] = left
        return True

    def record_submission(self, submission: Submission) -> list[int]:
        """Write `submission` to the ledger; the indexes that its answer shows, in order."""
        numbers = [int(number) for number in submission.numbers]
        shown = [index for index, number in enumerate(numbers) if not is_left_out(number)]
        shown = submission.faults.arrange_rows(shown)
        common = {
            "provider": submission.provider,
            "request": self.ledger.next_job,
            **submission.details,
        }
        if submission.faults.hiding_fault:
            common["spoilt"] = submission.faults.hiding_fault
        rows = [
            {"number": number, "text": text, "message_id": message_id}
            for number, text, message_id in zip(
                submission.numbers, submission.texts, submission.ids, strict=True
            )
        ]
        if "spoilt" not in common:
            for index in {*range(len(rows))} - {*shown}:
                rows[index]["spoilt"] = "missing"
        self.ledger.append_request(submission.arrived, common, numbers, rows)
        self.stats.counts["accepted_requests"] += 1
        return shown

    def begin_run(self, balances: Mapping[str, Mapping[str, int]]) -> None:
        """Start a new run with `balances`: no counts, no faults, an empty view of the ledger."""
        self.stats = Stats()
        self.faults.switch_all_off()
        self.ledger.begin_run()
        self.balances = {name: dict(packages) for name, packages in balances.items()}
