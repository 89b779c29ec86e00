"""The metrics: their names, help and labels, from a snapshot of the store.

Names are public. Labels are accounts, states and kinds; never a campaign, a number or a text.
"""

import platform
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from dispatcher import __version__
from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.status import IN_FLIGHT, BatchState, CampaignState, MessageState
from dispatcher.store.corrections import Correction
from dispatcher.store.push_counts import NOBODY, PushOutcome

Sample = tuple[list[str], float]
_OPEN_STATES: Final = (
    CampaignState.IMPORTING, CampaignState.SCHEDULED, CampaignState.RUNNING,
    CampaignState.PAUSED, CampaignState.CANCELLED,
)  # fmt: skip


def make_gauge(
    name: str, words: str, labels: Iterable[str], samples: Iterable[Sample]
) -> GaugeMetricFamily:
    """A gauge `dispatcher_NAME` with a sample for each list of label values."""
    family = GaugeMetricFamily(f"dispatcher_{name}", words, labels=list(labels))
    for values, value in samples:
        family.add_metric(values, value)
    return family


def make_counter(
    name: str, words: str, labels: Iterable[str], samples: Iterable[Sample]
) -> CounterMetricFamily:
    """A counter `dispatcher_NAME_total` with a sample for each list of label values."""
    family = CounterMetricFamily(f"dispatcher_{name}", words, labels=list(labels))
    for values, value in samples:
        family.add_metric(values, value)
    return family


def process_families(*, is_up: bool, seconds: float) -> Iterator[Metric]:
    """What is shown also while the store is away."""
    yield make_gauge(
        "build_info", "The version of the exporter.", ["version", "python"],
        [([__version__, platform.python_version()], 1)],
    )  # fmt: skip
    yield make_gauge("store_up", "1 if the store could be read.", [], [([], is_up)])
    yield make_gauge(
        "store_read_seconds", "How long reading the store took for this scrape.", [],
        [([], seconds)],
    )  # fmt: skip


def campaign_families(found: Snapshot) -> Iterator[Metric]:
    """Recipients and campaigns by account and state, and what is due."""
    names = list(found.accounts)
    empty: dict[str, int] = {}
    yield make_gauge(
        "recipients", "Recipients of all campaigns by their state now.", ["account", "state"],
        [
            ([name, state.label], found.recipients.get(name, empty).get(state.label, 0))
            for name in names for state in MessageState
        ],
    )  # fmt: skip
    yield make_gauge(
        "recipients_without_receipt", "Submitted recipients whose receipt is no longer awaited.",
        ["account"],
        [([name], found.recipients.get(name, empty).get("no_receipt", 0)) for name in names],
    )  # fmt: skip
    yield make_counter(
        "recipients_submitted", "Recipients that the provider took, each time it did.",
        ["account"], [([name], found.submitted.get(name, 0)) for name in names],
    )  # fmt: skip
    yield make_counter(
        "recipients_delivered", "Recipients whose receipt says delivered.", ["account"],
        [([name], found.recipients.get(name, empty).get("delivered", 0)) for name in names],
    )  # fmt: skip
    yield make_gauge(
        "recipients_due", "Pending recipients that could leave now: account and windows are open.",
        ["account"],
        [([name], found.due[name].recipients if name in found.due else 0) for name in names],
    )  # fmt: skip
    yield make_gauge(
        "due_age_seconds", "For how long the oldest due work could leave, closed hours included.",
        ["account"],
        [
            ([name], seconds_since(found.now, found.due[name].since if name in found.due else None))
            for name in names
        ],
    )  # fmt: skip
    counted = {(row.account, row.state): row.n for row in found.campaigns}
    yield make_gauge(
        "campaigns", "Campaigns that are not over.", ["account", "state"],
        [
            ([name, state.value], counted.get((name, state.value), 0))
            for name in names for state in _OPEN_STATES
        ],
    )  # fmt: skip


def work_families(found: Snapshot) -> Iterator[Metric]:
    """Batches, polls and doubt by account."""
    names = list(found.accounts)
    batches = {(row.account, row.state): row for row in found.batches}
    yield make_gauge(
        "batches_in_flight", "Batches that hold slots; those queued are the broker's queue.",
        ["account", "state"],
        [
            ([name, state.label], batches[name, state].n if (name, state) in batches else 0)
            for name in names for state in sorted(IN_FLIGHT)
        ],
    )  # fmt: skip
    queued = {row.account: row.oldest for row in found.batches if row.state == BatchState.QUEUED}
    yield make_gauge(
        "queue_age_seconds", "For how long the oldest queued batch has waited for a worker.",
        ["account"], [([name], seconds_since(found.now, queued.get(name))) for name in names],
    )  # fmt: skip
    polls = {row.account: row for row in found.polls}
    yield make_gauge(
        "polls_due", "Requests whose delivery status is to be asked by now.", ["account"],
        [([name], polls[name].n if name in polls else 0) for name in names],
    )  # fmt: skip
    yield make_gauge(
        "poll_age_seconds", "By how long the most overdue status request is late.", ["account"],
        [
            ([name], seconds_since(found.now, polls[name].oldest if name in polls else None))
            for name in names
        ],
    )  # fmt: skip
    doubts = {row.account: row for row in found.doubts}
    yield make_gauge(
        "doubtful_requests", "Requests with recipients in doubt: decided by the program, or not.",
        ["account", "decided_by"],
        [
            sample
            for name in names
            for n, undecided in [(doubts[name].n, doubts[name].undecided)
                                 if name in doubts else (0, 0)]
            for sample in (([name, "program"], n - undecided), ([name, "person"], undecided))
        ],
    )  # fmt: skip
    yield make_gauge(
        "doubt_age_seconds", "For how long the oldest doubt has lasted.", ["account"],
        [
            ([name], seconds_since(found.now, doubts[name].oldest if name in doubts else None))
            for name in names
        ],
    )  # fmt: skip


def operation_families(found: Snapshot) -> Iterator[Metric]:
    """Stop, tick, workers, corrections and the store itself."""
    yield make_gauge(
        "store_info", "The revision of the store's tables.", ["revision"],
        [([found.revision or "none"], 1)],
    )  # fmt: skip
    yield make_gauge(
        "stopped", "1 while everything is stopped (`dispatcher stop`).", [],
        [([], found.is_stopped)],
    )  # fmt: skip
    yield make_gauge(
        "tick_age_seconds", "Seconds since the last tick; +Inf before the first.", [],
        [([], float("inf") if found.tick_at is None else seconds_since(found.now, found.tick_at))],
    )  # fmt: skip
    yield make_gauge(
        "workers", "Worker processes that have shown a sign of life within a lease.", [],
        [([], len(found.workers))],
    )  # fmt: skip
    yield make_gauge(
        "worker_threads", "Threads of these workers.", [],
        [([], sum(worker.concurrency for worker in found.workers))],
    )  # fmt: skip
    yield make_counter(
        "corrections", "What ticks corrected: leases that ran out, batches that were not claimed.",
        ["kind"], [([kind.value], found.corrections.get(kind, 0)) for kind in Correction],
    )  # fmt: skip


def push_families(found: Snapshot) -> Iterator[Metric]:
    """What providers have pushed to the receiver; the account is empty without a valid URL."""
    counted = {(row.account, row.outcome): row.n for row in found.pushes}
    # With zeros, so that the first of a kind is an increase; accounts that nobody pushes to: none.
    pushing = {row.account for row in found.pushes if row.account != NOBODY} | found.push_accounts
    shown = [(NOBODY, PushOutcome.REFUSED)]
    shown += [(name, each) for name in found.accounts if name in pushing for each in PushOutcome]
    yield make_counter(
        "pushes", "Pushed receipts and replies, and pushes that could not be read, by their end.",
        ["account", "outcome"],
        [([name, outcome.value], counted.get((name, outcome.value), 0))
         for name, outcome in shown],
    )  # fmt: skip
    yield make_gauge(
        "receipts_waiting", "Pushed receipts whose message is not known yet.", ["account"],
        [([name], found.waiting_receipts.get(name, 0)) for name in found.accounts],
    )  # fmt: skip


def seconds_since(now: datetime, at: datetime | None) -> float:
    """Seconds from `at` to `now`; 0 for None, and for a time ahead of the clock."""
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
