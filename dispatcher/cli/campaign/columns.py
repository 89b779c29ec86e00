"""The columns of `--csv` and `--tsv` where a command shows campaigns: names in its JSON."""

from typing import Final

from dispatcher.status import BatchState, MessageState

_COUNTS: Final = (
    *(f"counts.{state.label}" for state in MessageState),
    *(f"counts.{name}" for name in ("no_receipt", "total", "invalid", "duplicate")),
)

#: `campaign list`: a row per campaign.
LIST_COLUMNS: Final = (
    "id", "name", "state", "state_reason", "waits_for", "account", "kind", *_COUNTS,
    "created_at", "started_at", "finished_at", "purged_at",
)  # fmt: skip
#: `campaign show`: one row.
SHOW_COLUMNS: Final = (
    *LIST_COLUMNS, "sender", "template", "text", "source", "rows", "parts", "cost", "priority",
    "rate", "start_at", "expire_at", *(f"batches.{state.label}" for state in BatchState),
    "polls.open", "polls.next_at", "doubt.since", "doubt.next_at", "doubt.looks",
    "doubt.on_doubt", "account_paused", "account_pause_reason", "account_stopped_by",
    "account_stopped_at", "account_trouble", "account_waits_for", "accounts",
)  # fmt: skip
#: `campaign failures`: a row per reason.
FAILURE_COLUMNS: Final = (
    "state", "reason", "account", "provider", "recipients", "retryable", "parts", "example",
    "meaning", "advice", "retry_may_help", "command",
)  # fmt: skip
#: `campaign find`: a row per message.
MESSAGE_COLUMNS: Final = (
    "campaign_id", "campaign", "is_single", "kind", "row", "account", "sender", "template",
    "template_values", "text", "parts", "state", "created_at", "submitted_at", "final_at",
    "provider_message_id", "other_ids", "job_id", "error_code", "error", "cost", "notes",
    "attempt_count",
)  # fmt: skip
#: `campaign report`: a row per line of its tables; `part` is the table's name in the JSON.
REPORT_COLUMNS: Final = (
    "part", "name", "total", "outcomes.delivered", "outcomes.not_delivered",
    "outcomes.no_receipt", "outcomes.in_doubt", "outcomes.not_submitted", "outcomes.pending",
    "parts", "cost",
)  # fmt: skip
