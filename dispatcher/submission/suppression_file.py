"""Files with numbers for the suppression list: read like recipient files, and stored in groups."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress

from pyroaring import BitMap64

from dispatcher.numbers.msisdn import MsisdnError, NumberReader
from dispatcher.recipients.reader import RecipientFile
from dispatcher.recipients.rows import RowBlock
from dispatcher.store import suppressions
from dispatcher.store.audit import add_audit_row
from dispatcher.store.engine import Store, store_now
from dispatcher.store.suppressions import SuppressionOrigin

#: Numbers that one transaction stores: other writers wait for a few tenths of a second.
_GROUP = 50_000
_SHOWN = 20


@dataclass(slots=True)
class ImportedNumbers:
    """What became of the rows: `added` are new on the list, `known` were on it before."""

    rows: int = 0
    added: int = 0
    known: int = 0
    duplicate: int = 0
    invalid: int = 0
    #: Rows without a valid number, by reason; and the first of them, with the row's number.
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str]] = field(default_factory=list)


def import_suppressions(
    store: Store,
    file: RecipientFile,
    *,
    country: str | None,
    account: str,
    origin: SuppressionOrigin,
) -> ImportedNumbers:
    """Put every valid number of a file on the list of `account`.

    An import that is interrupted keeps the numbers that it has stored; it can be made again. When
    it returns, no request begins any more to one of the numbers. Raises as reading a file does.
    """
    done = ImportedNumbers()
    group: list[int] = []
    for numbers in _read_new_numbers(file, NumberReader(country), done):
        group += numbers
        if len(group) >= _GROUP:
            _store_group(store, group, account, origin, done)
            group = []
    _store_group(store, group, account, origin, done)
    with store.write() as conn:
        suppressions.wait_for_begins(conn, account)
        add_audit_row(
            conn,
            "suppression import",
            now=store_now(conn),
            actor=origin.actor,
            account=account or None,
            detail=f"{done.added} numbers from {origin.source}",
        )
    return done


def _read_new_numbers(
    file: RecipientFile, reader: NumberReader, done: ImportedNumbers
) -> Iterator[Sequence[int]]:
    """The numbers of each block, without those that an earlier row has."""
    seen = BitMap64()
    for block in file.read_blocks():
        found = reader.read_cells(
            [
                block.unusual[place].phone if place in block.unusual else cells[block.phone_index]
                for place, cells in enumerate(block.cells)
            ]
        )
        done.rows += len(found)
        is_valid = [number is not None for number in found]
        if not all(is_valid):
            _note_invalid(file, reader, block, found, done)
        valid = [number for number in compress(found, is_valid) if number is not None]
        new = BitMap64(valid) - seen
        done.duplicate += len(valid) - len(new)
        seen |= new
        yield [*new]


def _note_invalid(
    file: RecipientFile,
    reader: NumberReader,
    block: RowBlock,
    found: Sequence[int | None],
    done: ImportedNumbers,
) -> None:
    for place, number in enumerate(found):
        if number is not None:
            continue
        row = block.row(place)
        try:
            reader.read(row.phone)
        except MsisdnError as error:
            if file.is_repeated_header(row):
                done.rows -= 1
                continue
            done.invalid += 1
            done.reasons[str(error)] += 1
            if len(done.examples) < _SHOWN:
                done.examples.append((row.number, str(error)))


def _store_group(
    store: Store,
    group: Sequence[int],
    account: str,
    origin: SuppressionOrigin,
    done: ImportedNumbers,
) -> None:
    if not group:
        return
    with store.write() as conn:
        added = suppressions.add_numbers(conn, group, account, origin, store_now(conn))
    done.added += added
    done.known += len(group) - added
