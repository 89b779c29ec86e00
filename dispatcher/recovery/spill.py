"""The spill: answers that the store did not take, on disk until a later start settles them.

One file an answer, so that each is written whole or not at all. Numbers and texts are in none.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection

from dispatcher.errors import StoreError
from dispatcher.local.state_folder import state_folder
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.status import AttemptOutcome
from dispatcher.store import answers, attempts, batch_endings
from dispatcher.store.answers import JudgedAnswer, PollPlan
from dispatcher.store.batches import Claim
from dispatcher.store.engine import Store, store_now

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_QUARANTINED = ".aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSchedule:
    """When an accepted request is to be asked about, in seconds from its settlement."""

    first_s: float
    for_s: float

    def plan_from(self, now: datetime) -> PollPlan:
        """The plan from `now` on."""
        return PollPlan(
            first_at=now + timedelta(seconds=self.first_s),
            until=now + timedelta(seconds=self.for_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is to be stored of one attempt.

    Without a verdict nothing left: the attempt is withdrawn, or every one of the claim where
    `attempt_id` is None.
    """

    claim: Claim
    attempt_id: int | None
    verdict: Verdict | None = None
    polling: PollSchedule | None = None
    #: Surely nothing left, though the request counts as tried: no connection was made.
    never_left: bool = False

    @property
    def name(self) -> str:
        """The name of its file: the same for the same answer."""
        return f"{self.claim.id}-{self.claim.fence}-{self.attempt_id or 'all'}{_SUFFIX}"

    def store(self, conn: Connection, now: datetime) -> None:
        """Apply it, once: a second time changes nothing."""
        if self.attempt_id is None:
            batch_endings.hand_back_unsent(conn, self.claim, now)
        elif self.verdict is None:
            batch_endings.cancel_attempt(conn, self.claim, self.attempt_id, now)
            batch_endings.reverse_doubt(conn, self.claim, self.attempt_id, now)
        else:
            done = answers.settle_answer(
                conn, self.claim, self.attempt_id, self.verdict, poll=self._poll(now), now=now
            )
            if self.never_left and not done.owned:
                batch_endings.reverse_doubt(conn, self.claim, self.attempt_id, now)

    def answered(self, now: datetime) -> JudgedAnswer | None:
        """The judged answer; None where nothing left."""
        if self.attempt_id is None or self.verdict is None:
            return None
        return JudgedAnswer(self.attempt_id, self.verdict, self._poll(now))

    def _poll(self, now: datetime) -> PollPlan | None:
        return self.polling.plan_from(now) if self.polling is not None else None


def apply_settlements(conn: Connection, given: Sequence[Settlement], now: datetime) -> None:
    """Apply answers to requests of one batch; those that came in time together."""
    told = [one for answer in given if (one := answer.answered(now)) is not None]
    if len(told) > 1 and answers.settle_in_time(conn, given[0].claim, told, now) is not None:
        given = [answer for answer in given if answer.verdict is None]
    for answer in given:
        answer.store(conn, now)


class Spill:
    """The folder of answers that wait. Several processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_answer(self, answer: Settlement) -> None:
        """Put an answer on the disk, whole and synced. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / answer.name
        partial = path.with_suffix(f".{os.getpid()}.part")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_as_json(answer))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove_answer(self, answer: Settlement) -> None:
        """Forget an answer that was stored after all."""
        (self.folder / answer.name).unlink(missing_ok=True)

    def waiting_files(self) -> list[Path]:
        """The files of the answers that wait, in no order."""
        return list(self.folder.glob(f"*{_SUFFIX}"))

    def quarantined_files(self) -> list[Path]:
        """The files that could not be settled, for a person to look at."""
        return list(self.folder.glob(f"*{_QUARANTINED}"))

    def settle_all(self, store: Store) -> int:
        """Store every answer that waits; how many. Raises StoreError where the store is away.

        One that the store knows nothing of is put aside, and said.
        """
        done = 0
        for path, answer in self._read_answers():
            with store.write() as conn:
                is_known = _settle_spilled(conn, answer, store_now(conn))
            if is_known:
                path.unlink(missing_ok=True)
                done += 1
            else:
                _quarantine(path, "the store does not know its attempt")
        return done

    def _read_answers(self) -> Iterator[tuple[Path, Settlement]]:
        for path in self.waiting_files():
            try:
                answer = _from_json(path.read_bytes())
            except FileNotFoundError:  # another process was faster
                continue
            except (OSError, KeyError, TypeError, ValueError, ArithmeticError):
                _quarantine(path, "it cannot be read")
                continue
            yield path, answer


def open_spill(store: Store, folder: Path | None) -> Spill:
    """The spill of a store: in `folder`, beside a SQLite file, or in the user's state folder.

    Raises StoreError where there is none of these.
    """
    if folder is None and store.is_sqlite:
        return Spill(Path(f"{store.url.database}.spill"))
    if folder is None:
        try:
            folder = state_folder() / "spill"
        except RuntimeError:
            raise StoreError(
                "there is no folder for answers that the store does not take",
                "set `spill_dir` under [worker]",
            ) from None
    # Several stores may share the folder.
    place = f"{store.url.host}:{store.url.port}/{store.url.database}"
    return Spill(folder / hashlib.sha256(place.encode()).hexdigest()[:12])


def _settle_spilled(conn: Connection, answer: Settlement, now: datetime) -> bool:
    """Store one answer; False where the store does not know its attempt."""
    claim, attempt_id = answer.claim, answer.attempt_id
    if attempt_id is not None:
        outcome = attempts.attempt_outcome(conn, claim, attempt_id)
        if outcome is None:
            return False
        if outcome not in {AttemptOutcome.OPEN, AttemptOutcome.DOUBTFUL}:
            answers.audit_repeated_answer(conn, claim, attempt_id, now)
            return True
    answer.store(conn, now)
    batch_endings.close_if_answered(conn, claim, now)
    return True


def _quarantine(path: Path, reason: str) -> None:
    aside = path.with_suffix(_QUARANTINED)
    try:
        path.rename(aside)
    except OSError:
        return
    log.error("the spilled answer %s was put aside: %s", aside, reason)


def _as_json(answer: Settlement) -> bytes:
    return orjson.dumps(asdict(answer), default=_to_json_value) + b"\n"


def _to_json_value(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _from_json(data: bytes) -> Settlement:
    found = orjson.loads(data)
    polling = found["polling"]
    return Settlement(
        claim=Claim(**found["claim"]),
        attempt_id=found["attempt_id"],
        verdict=_verdict_from_json(found["verdict"]) if found["verdict"] is not None else None,
        polling=PollSchedule(**polling) if polling is not None else None,
        never_left=found["never_left"],
    )


def _verdict_from_json(found: dict[str, Any]) -> Verdict:
    accepted = [
        Accepted(seq, provider_id, None if cost is None else Decimal(cost))
        for seq, provider_id, cost in found.pop("accepted")
    ]
    return Verdict(
        outcome=AttemptOutcome(found.pop("outcome")),
        accepted=accepted,
        rejected=[NotAccepted(*entry) for entry in found.pop("rejected")],
        doubtful=[NotAccepted(*entry) for entry in found.pop("doubtful")],
        **found,
    )
