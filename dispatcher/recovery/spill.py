"""The spill: answers that the store could not take, kept on disk until a later start settles them.

One file per answer, so that each is written whole or not at all. No file holds a number or a text.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, astuple
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import orjson
from pydantic import TypeAdapter
from sqlalchemy import Connection

from dispatcher.errors import StoreDataError, StoreError
from dispatcher.local.state_folder import state_folder
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.status import AttemptOutcome
from dispatcher.store import answers, attempts, batch_endings
from dispatcher.store.engine import Store, store_now
from dispatcher.store.settlement import Settlement

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_QUARANTINED = ".aside"
_SETTLEMENT = TypeAdapter(Settlement)
#: The limit of every number: PostgreSQL's integers have 64 bits.
_MOST = 2**63
#: The limit of a polling time, in seconds: a hundred years.
_MOST_S = 3.2e9


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
                file.write(_encode_settlement(answer))
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

        A file that cannot be read, that another store left, or whose attempt the store does not
        know is logged, and renamed, so that it is met once.
        """
        done = 0
        for path, answer in self._read_answers():
            try:
                with store.write() as conn:
                    problem = _find_problem(conn, answer)
                    if problem is None:
                        _settle_spilled(conn, answer, store_now(conn))
            except (StoreDataError, ArithmeticError, ValueError, TypeError) as error:
                problem = f"the store does not take it ({type(error).__name__})"
            if problem is not None:
                _quarantine(path, problem)
                continue
            path.unlink(missing_ok=True)
            done += 1
        return done

    def quarantine_answer(self, answer: Settlement, reason: str) -> None:
        """Keep an answer for a person: the store will never take it. Raises OSError."""
        self.write_answer(answer)
        _quarantine(self.folder / _file_name(answer), reason)

    def _read_answers(self) -> Iterator[tuple[Path, Settlement]]:
        for path in self.waiting_files():
            try:
                answer = _decode_settlement(path.read_bytes())
            except FileNotFoundError:  # another process was faster
                continue
            except (OSError, ValueError):
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
    # Several stores may share the folder. `?host=` and the like name another server.
    place = f"{store.url.host}:{store.url.port}/{store.url.database}"
    if store.url.query:
        place += f"?{sorted(store.url.query.items())}"
    return Spill(folder / hashlib.sha256(place.encode()).hexdigest()[:12])


def _file_name(answer: Settlement) -> str:
    """The same for the same answer, so that it is written once."""
    claim = answer.claim
    return f"{claim.id}-{claim.fence}-{answer.attempt_id or 'all'}{_SUFFIX}"


def _find_problem(conn: Connection, answer: Settlement) -> str | None:
    """Why the store must not take an answer; None where it is its own."""
    claim = answer.claim
    if not batch_endings.is_of_this_store(conn, claim):
        return "another store left it"
    if not batch_endings.is_known_claim(conn, claim):
        return "the store does not know its batch"
    if answer.attempt_id is None:
        # A file of an earlier version, which does not name its store.
        return "it does not name its store" if claim.store_id is None else None
    outcome = attempts.attempt_outcome(conn, claim, answer.attempt_id)
    return "the store does not know its attempt" if outcome is None else None


def _settle_spilled(conn: Connection, answer: Settlement, now: datetime) -> None:
    claim, attempt_id = answer.claim, answer.attempt_id
    if attempt_id is not None:
        outcome = attempts.attempt_outcome(conn, claim, attempt_id)
        if outcome not in {AttemptOutcome.OPEN, AttemptOutcome.DOUBTFUL}:
            answers.audit_repeated_answer(conn, claim, attempt_id, now)
            return
    answer.lock_for_return(conn)
    answer.apply_to(conn, now)
    batch_endings.close_if_answered(conn, claim, now)


def _quarantine(path: Path, reason: str) -> None:
    aside = path.with_suffix(_QUARANTINED)
    try:
        path.rename(aside)
    except OSError:
        return
    words = "a spilled answer was not stored, and renamed to %s: %s"
    log_event(log, LogEvent.ANSWER_SET_ASIDE, words, aside, reason)


def _encode_settlement(answer: Settlement) -> bytes:
    return orjson.dumps(asdict(answer), default=_to_json_value) + b"\n"


def _to_json_value(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _decode_settlement(data: bytes) -> Settlement:
    """The answer in a file. Raises ValueError where a value is missing, or not of its type."""
    answer = _SETTLEMENT.validate_json(data, strict=True)
    numbers = [*_numbers_of(answer)]
    if not all(0 <= number < _MOST for number in numbers):
        raise ValueError("a number is out of range")
    if answer.polling is not None and not all(0 <= s < _MOST_S for s in astuple(answer.polling)):
        raise ValueError("a time is out of range")
    return answer


def _numbers_of(answer: Settlement) -> Iterator[int]:
    claim, verdict = answer.claim, answer.verdict
    yield from (claim.id, claim.fence, claim.campaign_id, claim.first_seq, claim.size, claim.tries)
    yield from (answer.attempt_id or 0, answer.after_attempt_id)
    if verdict is not None:
        for entries in (verdict.accepted, verdict.rejected, verdict.doubtful):
            yield from (entry.seq for entry in entries)
