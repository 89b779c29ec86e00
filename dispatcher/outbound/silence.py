"""Finds accounts that send nothing although messages are due, and warns once about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from dispatcher.outbound.release import open_zones
from dispatcher.policy.breaker import describe_outage
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import BatchState
from dispatcher.store import accounts, attempts, batches, campaign_search, due_work
from dispatcher.store.rows import AccountRow

#: How long an account may send nothing before the warning.
SILENT_S: Final = 60.0
_CHECK_S: Final = 15.0


@dataclass(slots=True)
class _Silence:
    """Since when an account has sent nothing, and whether a warning was given."""

    since: datetime
    is_told: bool = False


class SilenceAlarm:
    """Checks accounts now and then, and warns once about each that is silent. Not thread-safe."""

    def __init__(self) -> None:
        self._silences: dict[str, _Silence] = {}
        self._next_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to check again. A clock that was set back delays one check."""
        at = self._next_at
        if at is not None and now < at <= now + timedelta(seconds=_CHECK_S):
            return False
        self._next_at = now + timedelta(seconds=_CHECK_S)
        return True

    def find_silent(
        self, conn: Connection, configured: Mapping[str, ProviderSettings], now: datetime
    ) -> dict[str, str]:
        """Sentences about accounts that have been silent for a minute, by name, each only once."""
        sentences = {}
        waiting = due_work.accounts_with_waiting(conn, now)
        for name in self._silences.keys() - waiting:
            del self._silences[name]
        for name, settings in configured.items():
            if name not in waiting:
                continue
            due = count_due(conn, name, settings, now)
            seen = self._silences.get(name)
            if not due or attempts.has_begun_since(conn, name, now - timedelta(seconds=SILENT_S)):
                self._silences.pop(name, None)
                continue
            if seen is None or seen.since > now:
                self._silences[name] = _Silence(now)
                continue
            silent_s = (now - seen.since).total_seconds()
            if silent_s >= SILENT_S and not seen.is_told:
                seen.is_told = True
                sentences[name] = _describe_silence(conn, name, due, silent_s)
        return sentences


def count_due(
    conn: Connection, name: str, settings: ProviderSettings, now: datetime
) -> dict[int, int]:
    """Pending messages per campaign that could leave now; empty while some are on their way.

    Waiting for a rate, a day's limit, as long as the provider asked, or for the end of a person's
    stop is not silence.
    """
    account = accounts.find_account(conn, name)
    if account is None or _waits_rightly(account, settings, now):
        return {}
    out = batches.batches_in_flight(conn, name)
    if any(batch.state != BatchState.QUEUED for batch in out):
        return {}
    queued = {batch.campaign_id for batch in out}
    due = []
    for row in batches.running_campaigns(conn, name):
        if row.recheck_at is not None:
            continue  # nothing of it is released before its check
        zones = open_zones(settings, row, now)
        if zones == [] or (row.paid_until is not None and row.paid_until > now):
            continue
        if row.id in queued or any(batches.due_batches(conn, row.id, now, 1, zones)):
            due.append(row.id)
    counts = campaign_search.count_messages(conn, due) if due else {}
    return {campaign_id: counts[campaign_id]["pending"] for campaign_id in due}


def _waits_rightly(account: AccountRow, settings: ProviderSettings, now: datetime) -> bool:
    ends = [
        account.not_before,
        account.messages_paid_until,
        account.parts_paid_until,
        account.requests_paid_until,
    ]
    if account.stopped_at is not None or any(at is not None and at > now for at in ends):
        return True
    return accounts.messages_left_today(account, settings.daily_limit, now) == 0


def _describe_silence(conn: Connection, name: str, due: Mapping[int, int], silent_s: float) -> str:
    account = accounts.find_account(conn, name)
    reason = describe_outage(account) if account is not None else None
    which = ", ".join(f"campaign {campaign_id}: {count:,}" for campaign_id, count in due.items())
    return (
        f"account {name}: nothing has left for {silent_s:.0f} s although {sum(due.values()):,} "
        f"messages are due ({which}): {reason or 'no worker takes them, see `dispatcher doctor`'}"
    )
