"""Move a campaign's pending messages to a fallback account, in batches of that account's size.

Only unclaimed batches move; settled and doubtful messages stay where they are. The lock order is
that of `locks.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Select, Text, delete, func, insert, select
from sqlalchemy import update as update_

from dispatcher.policy.rebatching import (
    BatchGroup,
    BatchLimits,
    PlannedBatch,
    SeqSpan,
    WaitingMessage,
    join_spans,
    plan_batch,
    plan_batches,
    split_waiting_ends,
)
from dispatcher.status import UNCLAIMED, BatchState, CampaignState, MessageState
from dispatcher.store.audit import add_audit_row
from dispatcher.store.fetching import columns_of, fetch_all, fetch_messages
from dispatcher.store.messages import pack_cells, unpack_cells
from dispatcher.store.ranges import messages_between
from dispatcher.store.row_parts import FallbackSwitch, WaitingRow
from dispatcher.store.rows import BatchRow, CampaignRow
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import AUDIT, BATCH, CAMPAIGN, MESSAGE, SOURCE_ROWS
from dispatcher.store.transitions import has_state, may_become

#: Messages moved in one transaction: other writers wait meanwhile on SQLite.
_GROUP = 20_000
_IS_WAITING = has_state(*UNCLAIMED)


def list_with_fallback(conn: Connection) -> list[CampaignRow]:
    """Running campaigns that have fallback accounts and unclaimed batches."""
    waiting = select(BATCH.c.id).where(BATCH.c.campaign_id == CAMPAIGN.c.id, _IS_WAITING).exists()
    return fetch_all(
        conn,
        CampaignRow,
        select(*columns_of(CAMPAIGN, CampaignRow)).where(
            has_state(CampaignState.RUNNING),
            CAMPAIGN.c.finished_at.is_(None),
            CAMPAIGN.c.routes.is_not(None),
            waiting,
        ),
    )


def list_split(conn: Connection) -> set[int]:
    """Running campaigns with fallback accounts that have unclaimed batches at another account."""
    elsewhere = select(BATCH.c.id).where(
        BATCH.c.campaign_id == CAMPAIGN.c.id, _IS_WAITING, BATCH.c.account != CAMPAIGN.c.account
    )
    query = select(CAMPAIGN.c.id).where(
        has_state(CampaignState.RUNNING),
        CAMPAIGN.c.finished_at.is_(None),
        CAMPAIGN.c.routes.is_not(None),
        elsewhere.exists(),
    )
    return set(conn.execute(query).scalars())


def switch_account(
    conn: Connection, campaign: CampaignRow, to: str, reason: str, now: datetime
) -> None:
    """Make `to` the campaign's account. It does not overtake the campaigns that send there."""
    turn = (
        select(func.coalesce(func.min(CAMPAIGN.c.turn), 0))
        .where(CAMPAIGN.c.account == to, has_state(CampaignState.RUNNING))
        .scalar_subquery()
    )
    conn.execute(
        update_(CAMPAIGN).where(CAMPAIGN.c.id == campaign.id).values(account=to, turn=turn)
    )
    waiting = conn.execute(
        select(func.coalesce(func.sum(BATCH.c.pending), 0)).where(
            BATCH.c.campaign_id == campaign.id, _IS_WAITING
        )
    ).scalar_one()
    add_audit_row(
        conn,
        "campaign fallback",
        now=now,
        account=to,
        campaign_id=campaign.id,
        detail=f"{waiting} pending messages go from {campaign.account} to {to}: {reason}",
    )


def load_fallback_history(conn: Connection, campaign_id: int) -> list[FallbackSwitch]:
    """When the campaign was switched to another account, and why, oldest first."""
    query = (
        select(*columns_of(AUDIT, FallbackSwitch))
        .where(AUDIT.c.campaign_id == campaign_id, AUDIT.c.action == "campaign fallback")
        .order_by(AUDIT.c.id)
    )
    return fetch_all(conn, FallbackSwitch, query)


def move_batches(
    conn: Connection,
    campaign: CampaignRow,
    to: str,
    limits: BatchLimits,
    render: Callable[[Sequence[WaitingRow]], Iterable[WaitingMessage]],
    now: datetime,
) -> int:
    """Move a group of batches that wait at other accounts to account `to`; how many messages.

    `render` turns rows with seq, msisdn, variables and parts into messages. Messages that the
    account cannot take become `failed`, with the reason.
    """
    moving = _GroupMove(conn, campaign.id, to, limits, render, now)
    taken = _lock_next_batches(conn, campaign.id, to)
    spans: list[tuple[SeqSpan, BatchGroup]] = []
    for batch in taken:
        spans += [(end, (batch.encoding, batch.zone)) for end in moving.take_free_ends(batch)]
    for span, group in join_spans(spans):
        for batch_plan in plan_batches(render(moving.load_pending_in(span)), limits):
            moving.add_batch(batch_plan, group)
    moving.write_batches()
    return sum(batch.pending for batch in taken)


@dataclass(slots=True)
class _GroupMove:
    """The move of one group of batches."""

    conn: Connection
    campaign_id: int
    to: str
    limits: BatchLimits
    render: Callable[[Sequence[WaitingRow]], Iterable[WaitingMessage]]
    now: datetime
    _cells: dict[int, list[str]] = field(default_factory=dict)
    _new: list[dict[str, Any]] = field(default_factory=list)
    _failed: list[tuple[int, str]] = field(default_factory=list)
    _spans: list[SeqSpan] = field(default_factory=list)

    def take_free_ends(self, batch: BatchRow) -> list[SeqSpan]:
        """Take the pending ends off a batch; the rest keeps the batch's row and attempts."""
        span = SeqSpan(batch.first_seq, batch.first_seq + batch.size - 1)
        self._take_cells(span)
        seqs = (
            [row.seq for row in self.load_pending_in(span)] if batch.pending < batch.size else None
        )
        ends, kept = ([span], None) if seqs is None else split_waiting_ends(seqs, span)
        if kept is None:
            gone = {"size": 0, "pending": 0, "parts": 0}
            self._change_batch(batch.id, BatchState.REPLACED, gone)
            return ends
        self._keep_middle(batch, kept)
        return ends

    def load_pending_in(self, span: SeqSpan) -> Sequence[WaitingRow]:
        """The rows of pending messages in a span."""
        query = (
            select(*columns_of(MESSAGE, WaitingRow))
            .where(
                messages_between(self.campaign_id, span.first, span.last),
                has_state(MessageState.PENDING),
            )
            .order_by(MESSAGE.c.seq)
        )
        return fetch_messages(self.conn, WaitingRow, query)

    def add_batch(self, made: PlannedBatch, group: BatchGroup) -> None:
        """Plan a new batch at the new account."""
        size, failed = made.span.last - made.span.first + 1, len(made.failed)
        self._failed += made.failed
        self._spans.append(made.span)
        self._new.append(
            {
                "campaign_id": self.campaign_id,
                "account": self.to,
                "encoding": group[0],
                "zone": group[1],
                "first_seq": made.span.first,
                "size": size,
                "parts": made.parts,
                "requests": made.requests,
                "state": BatchState.PENDING if failed < size else BatchState.SETTLED,
                "pending": size - failed,
                "failed": failed,
            }
        )

    def write_batches(self) -> None:
        """Insert the new batches and their cells, and fail what the account cannot take."""
        mine = BATCH.c.campaign_id == self.campaign_id
        last = self.conn.execute(select(func.max(BATCH.c.seq)).where(mine)).scalar_one()
        rows = [row | {"seq": last + i} for i, row in enumerate(self._new, start=1)]
        if rows:
            self.conn.execute(insert(BATCH), rows)
        if self._cells and self._spans:
            self.conn.execute(insert(SOURCE_ROWS), [self._cells_row(span) for span in self._spans])
        if self._failed:
            given = literal_table(self.conn, [("seq", Integer()), ("reason", Text())], self._failed)
            self.conn.execute(
                update_(MESSAGE)
                .where(
                    MESSAGE.c.campaign_id == self.campaign_id,
                    MESSAGE.c.seq == given.c.seq,
                    may_become(MessageState.FAILED, only_from={MessageState.PENDING}),
                )
                .values(state=MessageState.FAILED, error=given.c.reason, final_at=self.now)
            )

    def _keep_middle(self, batch: BatchRow, kept: SeqSpan) -> None:
        """Keep a batch for its settled messages; pending ones between them move with it."""
        values: dict[str, Any] = {
            "first_seq": kept.first, "size": kept.last - kept.first + 1, "pending": 0,
        }  # fmt: skip
        rows = self.load_pending_in(kept)
        if rows:
            made = plan_batch(list(self.render(rows)), self.limits)
            self._failed += made.failed
            left = len(rows) - len(made.failed)
            values |= {
                "account": self.to, "parts": made.parts, "requests": made.requests,
                "pending": left, "failed": batch.failed + len(made.failed),
            }  # fmt: skip
        self._spans.append(kept)
        state = BatchState.PENDING if values["pending"] else BatchState.SETTLED
        self._change_batch(batch.id, state, values)

    def _change_batch(self, batch_id: int, state: BatchState, values: dict[str, Any]) -> None:
        again = {"state": state, "fence": BATCH.c.fence + 1, "tries": 0, "not_before": None}
        self.conn.execute(
            update_(BATCH)
            .where(BATCH.c.id == batch_id, may_become(state, only_from=UNCLAIMED))
            .values(again | values)
        )

    def _cells_row(self, span: SeqSpan) -> dict[str, Any]:
        cells = [self._cells[seq] for seq in range(span.first, span.last + 1)]
        return {
            "campaign_id": self.campaign_id,
            "first_seq": span.first,
            "cells": pack_cells(cells),
        }

    def _take_cells(self, span: SeqSpan) -> None:
        where = (
            SOURCE_ROWS.c.campaign_id == self.campaign_id, SOURCE_ROWS.c.first_seq == span.first
        )  # fmt: skip
        blob = self.conn.execute(select(SOURCE_ROWS.c.cells).where(*where)).scalar_one_or_none()
        if blob is not None:
            self._cells.update(
                zip(range(span.first, span.last + 1), unpack_cells(blob), strict=True)
            )
            self.conn.execute(delete(SOURCE_ROWS).where(*where))


def _batches_elsewhere(campaign_id: int, account: str) -> Select[*tuple[Any, ...]]:
    return select(*columns_of(BATCH, BatchRow)).where(
        BATCH.c.campaign_id == campaign_id, BATCH.c.account != account, _IS_WAITING
    )


def _lock_next_batches(conn: Connection, campaign_id: int, to: str) -> list[BatchRow]:
    """Lock the next batches to move, in order."""
    query = _batches_elsewhere(campaign_id, to).order_by(BATCH.c.first_seq).limit(_GROUP)
    return list(_take_group(fetch_all(conn, BatchRow, query.with_for_update())))


def _take_group(batches: Sequence[BatchRow]) -> Iterator[BatchRow]:
    messages = 0
    for batch in batches:
        if messages and messages + batch.size > _GROUP:
            return
        messages += batch.size
        yield batch
