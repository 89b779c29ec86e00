"""Submission: a recipient file, a text and an account become a campaign, or a reason why not.

The file is read once. Rows go into the store as they are read, in state `importing`, which sends
nothing; a person's yes makes the campaign `scheduled`, a no removes it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import orjson
from sqlalchemy import Connection

from dispatcher.batching import BatchPlanner
from dispatcher.content import Content, Written, write
from dispatcher.errors import Refused
from dispatcher.gates import Wanted, check_opens
from dispatcher.intake import Intake, Preview, Rejected, Taken
from dispatcher.liveness import is_gone, own_name
from dispatcher.messages import Route
from dispatcher.msisdn import NumberReader
from dispatcher.providers.base import Provider, RouteWish
from dispatcher.recipients import RecipientFile, open_recipients
from dispatcher.routes import Leg, stored
from dispatcher.segments import measure
from dispatcher.status import CampaignState, Encoding, Kind
from dispatcher.store import campaigns, imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import Import, NewBatch, NewMessage, NewReject
from dispatcher.store.messages import pack_cells
from dispatcher.store.sets import AnyRow
from dispatcher.template import BoundTemplate, fold
from dispatcher.timing import Timing
from dispatcher.witness import Witness
from dispatcher.zones import ZoneChoice, recipient_zone

#: Rows are stored in groups of about this many.
_GROUP = 4000
#: An import whose writer is silent for so long is taken over.
_LEASE = timedelta(minutes=5)
_SAME_WITHIN = timedelta(hours=24)
#: Headers of the column that says a recipient's time zone; `--map timezone=…` names another.
_ZONE_HEADERS = frozenset({"timezone", "time zone", "time_zone", "tz"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asks for: one recipient file, one text, one account."""

    source: Path | BinaryIO
    source_name: str
    account: str
    name: str
    content: Content
    kind: Kind = Kind.TRANSACTIONAL
    sender: str | None = None
    template: str | None = None
    column: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    keep_columns: bool = True
    idempotency_key: str | None = None
    again: bool = False
    #: `hold`, `resend` or `drop`: what is done about doubts that no list of the provider settles.
    on_doubt: str = "hold"
    timing: Timing = field(default_factory=Timing)

    @property
    def wanted(self) -> Wanted:
        """What its windows and expiry are judged by."""
        timing = self.timing
        return Wanted(
            kind=self.kind,
            schedule=timing.schedule,
            start_at=timing.start_at,
            expire_at=timing.expire_at,
            schedule_at=self.content.schedule_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An order that passed every check that needs no row of the file."""

    order: Order
    provider: Provider
    route: Route
    written: Written
    file: RecipientFile
    template: BoundTemplate
    #: Where it goes on while its account is out of service, in this order.
    fallbacks: Sequence[Leg] = ()

    @property
    def content_key(self) -> str:
        """What makes two submissions the same: file, text, account and route."""
        parts = [
            self.file.sha256, self.written.text, self.order.account, self.order.kind,
            self.route.sender, self.route.template, self.file.phone_column, self.order.limit,
            sorted(self.order.mapping.items()), self.written.template_columns,
            self.order.content.flash,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    @property
    def room_bytes(self) -> int:
        """What recipients may take of one request."""
        return self.provider.settings.max_request_bytes - self.provider.envelope_bytes

    def intake(self) -> Intake:
        """The file's rows against this text."""
        provider, room = self.provider, self.room_bytes

        def fits(msisdn: int, text: str) -> bool:
            return provider.recipient_bytes(msisdn, text) <= room

        return Intake(
            self.file,
            self.template,
            NumberReader(provider.settings.country),
            max_parts=provider.max_parts,
            fits=fits,
            limit=self.order.limit,
            zone_of=self._zone_of() if self.order.timing.plans_by_zone else None,
        )

    def _zone_of(self) -> Callable[[Sequence[str], int], ZoneChoice]:
        """The zone of a row: its zone column, if the file has one, else its number's."""
        column = next(
            (i for i, h in enumerate(self.file.headers) if fold(h) in _ZONE_HEADERS), None
        )
        default = self.order.timing.zone

        def choose(cells: Sequence[str], msisdn: int) -> ZoneChoice:
            explicit = cells[column] if column is not None and column < len(cells) else None
            return recipient_zone(explicit, msisdn, default)

        return choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A complete import that waits for a yes."""

    job: Import
    preview: Preview


@contextmanager
def prepared(
    order: Order, provider: Provider, resolve: Callable[[RouteWish], Route]
) -> Iterator[Ready]:
    """Check everything that needs no row: text, placeholders, file, sender, template, windows.

    Raises Refused or UsageProblem; `resolve` may also raise ProviderError.
    """
    wish = RouteWish(
        kind=order.kind,
        sender=order.sender or provider.settings.sender,
        template=order.template or provider.settings.template,
    )
    written = None
    if order.content.text is not None:  # what needs no answer of the provider is told first
        written = write(order.content, provider, Route(sender=""))
    if not order.timing.plans_by_zone:
        check_opens(provider.settings, order.wanted, (None,), datetime.now(UTC))
    with open_recipients(order.source, column=order.column, mapping=order.mapping) as file:
        bound = written.template.bind(file.headers) if written is not None else None
        route = resolve(wish)
        if written is None or bound is None:
            written = write(order.content, provider, route)
            bound = written.template.bind(file.headers)
        yield Ready(
            order=order, provider=provider, route=route, written=written, file=file, template=bound
        )


def dry_run(ready: Ready, progress: Callable[[int], None]) -> Preview:
    """Read the whole file and store nothing."""
    intake = ready.intake()
    for item in intake:
        progress(item.row)
    return intake.preview


def already_submitted(store: Store, ready: Ready) -> AnyRow | None:
    """The campaign that this idempotency key made from the same content.

    Raises Refused where the key was used with other content, or where the same content was
    accepted within 24 hours and the order does not say `again`.
    """
    with store.read() as conn:
        return _earlier(conn, ready)


def _earlier(conn: Connection, ready: Ready) -> AnyRow | None:
    order, content_key = ready.order, ready.content_key
    if order.idempotency_key is not None:
        known = campaigns.with_idempotency_key(conn, order.idempotency_key)
        if known is not None and known.state != CampaignState.IMPORTING:
            if known.content_key == content_key:
                return known
            raise Refused(
                f"the idempotency key was used before, by campaign {known.id} with another "
                "file, text or account",
                "use a new key for a new campaign",
            )
    if order.again:
        return None
    same = campaigns.same_content(conn, content_key, store_now(conn) - _SAME_WITHIN)
    if same is not None:
        raise Refused(
            f"the same file, text and account were submitted as campaign {same.id} "
            f"({same.name!r}) at {same.created_at:%Y-%m-%d %H:%M} UTC",
            "give --again to send it a second time",
        )
    return None


def import_rows(store: Store, ready: Ready, progress: Callable[[int], None]) -> Imported:
    """Read the file into the store. Until `accept`, the campaign sends nothing.

    An unfinished import of the same content or key is discarded first; one that is still being
    written is Refused, and so is content that was accepted since `already_submitted` looked.
    """
    job = _start(store, ready)
    writer = _Writer(store, job, ready)
    intake = ready.intake()
    try:
        for item in intake:
            writer.add(item)
            progress(item.row)
        writer.finish(intake.preview)
        if ready.order.timing.plans_by_zone:
            zones = sorted(intake.preview.zones)
            check_opens(ready.provider.settings, ready.order.wanted, zones, datetime.now(UTC))
    except BaseException:
        discard(store, job)
        raise
    return Imported(job=job, preview=intake.preview)


def import_lists(store: Store, ready: Ready) -> Imported:
    """Make the campaign to contact lists kept at the provider: one message stands for them all.

    Its number is 0. Raises Refused for a text with placeholders.
    """
    if ready.written.template.fields:
        raise Refused(
            "a text to contact lists has no placeholders: their columns are not known here",
            "leave out {{…}}",
        )
    size = measure(ready.written.text)
    lists = ready.order.content.contact_lists
    everybody = NewMessage(seq=0, row=1, msisdn=0, parts=size.parts, variables=None)
    batch = NewBatch(
        seq=0,
        encoding=size.encoding,
        zone=None,
        first_seq=0,
        messages=[everybody],
        requests=1,
        cells=pack_cells([["", ", ".join(lists)]]),
    )
    job = _start(store, ready)
    preview = Preview(rows=1, valid=1, parts=size.parts)
    with store.write() as conn:
        lease_until = store_now(conn) + _LEASE
        imports.write(conn, job, [batch], [], lease_until=lease_until)
        imports.finish(conn, job, {"rows": 1, "total": 1, "parts": size.parts}, lease_until)
    return Imported(job=job, preview=preview)


def accept(store: Store, imported: Imported) -> CampaignState:
    """Make the campaign `scheduled`, or `rejected` where nothing in it can be sent."""
    state = CampaignState.SCHEDULED if imported.preview.valid else CampaignState.REJECTED
    with store.write() as conn:
        imports.accept(conn, imported.job, state, store_now(conn))
    return state


def discard(store: Store, job: Import) -> None:
    """Remove an import that was not accepted."""
    is_left = True
    while is_left:
        with store.write() as conn:
            is_left = not imports.discard(conn, job, store_now(conn) + _LEASE)


def _start(store: Store, ready: Ready) -> Import:
    witness = Witness(store)
    with store.write() as conn:
        held = witness.look(conn)
    if held is not None:
        raise Refused(held, "what was submitted after the backup is not known here either")
    # A store that ever had a campaign has a witness.
    witness.keep()
    while True:
        with store.write() as conn:
            left = _fenced_off(conn, ready)
            if left is None:
                return _started(conn, ready)
        discard(store, left)


def _fenced_off(conn: Connection, ready: Ready) -> Import | None:
    """What an earlier, killed submission of the same content or key left behind."""
    left = imports.unfinished(conn, ready.content_key, ready.order.idempotency_key)
    if left is None:
        return None
    now = store_now(conn)
    if left.import_lease_until > now and not is_gone(left.import_writer):
        raise Refused(
            f"the same file or key is being submitted right now, as campaign {left.id}",
            f"wait for it to end; if it was killed, try again after {left.import_lease_until:%H:%M}"
            " UTC",
        )
    return imports.take_over(conn, left, now + _LEASE)


def _started(conn: Connection, ready: Ready) -> Import:
    order = ready.order
    known = _earlier(conn, ready)
    if known is not None:
        raise Refused(
            f"campaign {known.id} was submitted with this idempotency key a moment ago",
            "submit again to see it",
        )
    now = store_now(conn)
    values = {
        "name": order.name,
        "account": order.account,
        "kind": order.kind,
        "sender": ready.route.sender,
        "template": ready.route.template,
        "sender_ref": ready.route.sender_ref,
        "template_ref": ready.route.template_ref,
        "routes": stored([Leg(order.account, ready.route), *ready.fallbacks]),
        **order.content.columns(ready.written),
        "columns": orjson.dumps(ready.file.file_headers if order.keep_columns else ()).decode(),
        "source_name": order.source_name,
        "content_key": ready.content_key,
        "idempotency_key": order.idempotency_key,
        "on_doubt": order.on_doubt,
        "import_writer": own_name(),
        **order.timing.columns(),
        "created_at": now,
    }
    return imports.start(conn, values, now + _LEASE)


class _Writer:
    """Plans batches while rows come, and stores them in groups."""

    def __init__(self, store: Store, job: Import, ready: Ready) -> None:
        provider = ready.provider
        self._store = store
        self._job = job
        self._keep_columns = ready.order.keep_columns
        self._width = len(ready.file.file_headers)
        self._bytes_of = provider.recipient_bytes
        self._is_one_each = ready.written.template_columns is not None
        self._texts_differ = self._is_one_each or (
            bool(ready.template.columns) and not provider.capabilities.personal_texts
        )
        self._planner = BatchPlanner[tuple[Encoding, str | None], Taken](
            max_recipients=provider.chunk if self._texts_differ else provider.max_recipients,
            max_bytes=ready.room_bytes,
        )
        self._batches: list[NewBatch] = []
        self._rejects: list[NewReject] = []
        self._rows = 0
        self._next_batch = 0
        self._next_seq = 0

    def add(self, item: Taken | Rejected) -> None:
        """Take one row."""
        if isinstance(item, Rejected):
            cells = item.cells[: self._width] if self._keep_columns else []
            kept = orjson.dumps(cells).decode()
            self._rejects.append(NewReject(item.row, item.kind, item.msisdn, item.reason, kept))
            self._rows += 1
        else:
            size = self._bytes_of(item.msisdn, item.text)
            full = self._planner.add(item, lane=(item.encoding, item.zone), size_bytes=size)
            if full:
                self._plan(full)
        if self._rows >= _GROUP:
            self._flush()

    def finish(self, preview: Preview) -> None:
        """Store what is left, and the totals."""
        for _lane, rest in self._planner.flush():
            self._plan(rest)
        self._flush()
        counts: dict[str, int | str] = {
            "rows": preview.rows,
            "total": preview.valid,
            "invalid": preview.invalid,
            "duplicate": preview.duplicate,
            "suppressed": preview.suppressed,
            "parts": preview.parts,
        }
        if preview.zones:
            counts["zones"] = orjson.dumps(sorted(preview.zones)).decode()
        with self._store.write() as conn:
            imports.finish(conn, self._job, counts, store_now(conn) + _LEASE)

    def _plan(self, items: list[Taken]) -> None:
        first = self._next_seq
        self._batches.append(
            NewBatch(
                seq=self._next_batch,
                encoding=items[0].encoding,
                zone=items[0].zone,
                first_seq=first,
                messages=[
                    NewMessage(first + i, item.row, item.msisdn, item.parts, item.variables)
                    for i, item in enumerate(items)
                ],
                requests=self._requests(items),
                cells=self._packed(items),
            )
        )
        self._next_batch += 1
        self._next_seq += len(items)
        self._rows += len(items)

    def _requests(self, items: list[Taken]) -> int:
        if self._is_one_each:
            return len(items)
        return len({item.text for item in items}) if self._texts_differ else 1

    def _packed(self, items: list[Taken]) -> bytes | None:
        if not self._keep_columns:
            return None
        return pack_cells([item.cells[: self._width] for item in items])

    def _flush(self) -> None:
        with self._store.write() as conn:
            lease_until = store_now(conn) + _LEASE
            imports.write(conn, self._job, self._batches, self._rejects, lease_until=lease_until)
        self._batches, self._rejects, self._rows = [], [], 0
