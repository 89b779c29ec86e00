"""The spill: answers that the store could not take, kept on disk until a later start settles them.

One file per answer, so that each is written whole or not at all. No file holds a number or a text.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NotRequired, TypedDict

import orjson
from sqlalchemy import Connection

from dispatcher.errors import StoreError
from dispatcher.local.state_folder import state_folder
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.status import AttemptOutcome
from dispatcher.store import answers, attempts, batch_endings
from dispatcher.store.batches import Claim
from dispatcher.store.engine import Store, store_now
from dispatcher.store.settlement import PollSchedule, Settlement

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_QUARANTINED = ".aside"


class Spill:
    """A folder of answers that wait to be stored. Several processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_answer(self, answer: Settlement) -> None:
        """Write an answer to disk, atomically and synced. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / _file_name(answer)
        partial = path.with_suffix(f".{os.getpid()}.part")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_to_json(answer))
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
        """Delete the file of an answer that was stored after all."""
        (self.folder / _file_name(answer)).unlink(missing_ok=True)

    def waiting_files(self) -> list[Path]:
        """List the files of the answers that wait, in no order."""
        return list(self.folder.glob(f"*{_SUFFIX}"))

    def quarantined_files(self) -> list[Path]:
        """List the files that could not be settled: a person has to look at them."""
        return list(self.folder.glob(f"*{_QUARANTINED}"))

    def settle_all(self, store: Store) -> int:
        """Store every answer that waits. Returns how many; raises StoreError without a store.

        An answer to an attempt that the store does not know is logged, and its file renamed.
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

    Raises StoreError for PostgreSQL where no folder is given and the user has no home.
    """
    if folder is None and store.is_sqlite:
        return Spill(Path(f"{store.url.database}.spill"))
    if folder is None:
        try:
            folder = state_folder() / "spill"
        except RuntimeError:
            raise StoreError(
                "there is no folder where answers can wait while the store is away",
                "set `spill_dir` under [worker]",
            ) from None
    # Several stores may share the folder.
    place = f"{store.url.host}:{store.url.port}/{store.url.database}"
    return Spill(folder / hashlib.sha256(place.encode()).hexdigest()[:12])


def _file_name(answer: Settlement) -> str:
    """The same for the same answer, so that it is written once."""
    claim = answer.claim
    return f"{claim.id}-{claim.fence}-{answer.attempt_id or 'all'}{_SUFFIX}"


def _settle_spilled(conn: Connection, answer: Settlement, now: datetime) -> bool:
    """Store one answer. False: the store does not know its attempt."""
    claim, attempt_id = answer.claim, answer.attempt_id
    if attempt_id is not None:
        outcome = attempts.attempt_outcome(conn, claim, attempt_id)
        if outcome is None:
            return False
        if outcome not in {AttemptOutcome.OPEN, AttemptOutcome.DOUBTFUL}:
            answers.audit_repeated_answer(conn, claim, attempt_id, now)
            return True
    answer.lock_for_return(conn)
    answer.apply_to(conn, now)
    batch_endings.close_if_answered(conn, claim, now)
    return True


def _quarantine(path: Path, reason: str) -> None:
    aside = path.with_suffix(_QUARANTINED)
    try:
        path.rename(aside)
    except OSError:
        return
    log.error("a spilled answer was not stored, and renamed to %s: %s", aside, reason)


class _StoredVerdict(TypedDict):
    """A `Verdict` in JSON; prices are texts."""

    outcome: int
    accepted: list[tuple[int, str | None, str | None]]
    rejected: list[tuple[int, str | None, str | None]]
    doubtful: list[tuple[int, str | None, str | None]]
    job_id: str | None
    error_code: str | None
    error: str | None


class _StoredClaim(TypedDict):
    """A `Claim` in JSON."""

    id: int
    fence: int
    campaign_id: int
    account: str
    encoding: int
    first_seq: int
    size: int
    tries: int
    zone: str | None
    is_probe: bool


class _StoredPolling(TypedDict):
    """A `PollSchedule` in JSON."""

    first_s: float
    for_s: float


class _StoredSettlement(TypedDict):
    """A `Settlement` in JSON: what a spill file holds."""

    claim: _StoredClaim
    attempt_id: int | None
    verdict: _StoredVerdict | None
    polling: _StoredPolling | None
    never_left: bool
    #: Not in files of an earlier version.
    after_attempt_id: NotRequired[int]


def _to_json(answer: Settlement) -> bytes:
    return orjson.dumps(asdict(answer), default=_to_json_value) + b"\n"


def _to_json_value(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _from_json(data: bytes) -> Settlement:
    found: _StoredSettlement = orjson.loads(data)
    polling = found["polling"]
    return Settlement(
        claim=Claim(**found["claim"]),
        attempt_id=found["attempt_id"],
        verdict=_verdict_from_json(found["verdict"]) if found["verdict"] is not None else None,
        polling=PollSchedule(**polling) if polling is not None else None,
        never_left=found["never_left"],
        # A file of an earlier version has none.
        after_attempt_id=found.get("after_attempt_id", 0),
    )


def _verdict_from_json(found: _StoredVerdict) -> Verdict:
    accepted = [
        Accepted(seq, provider_id, None if cost is None else Decimal(cost))
        for seq, provider_id, cost in found["accepted"]
    ]
    return Verdict(
        outcome=AttemptOutcome(found["outcome"]),
        accepted=accepted,
        rejected=[NotAccepted(*entry) for entry in found["rejected"]],
        doubtful=[NotAccepted(*entry) for entry in found["doubtful"]],
        job_id=found["job_id"],
        error_code=found["error_code"],
        error=found["error"],
    )
