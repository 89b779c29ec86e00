"""The page that proves to a customer what a number was sent and when."""

from collections.abc import Callable
from datetime import datetime

from markupsafe import Markup

from dispatcher.reports.history import AttemptRecord, MessageRecord, NumberHistory
from dispatcher.reports.page import facts, html, join, page, table

#: Shows a time in the page's zone, with seconds.
ShowTime = Callable[[datetime], str]


def evidence_page(history: NumberHistory, show_time: ShowTime, zone: str) -> str:
    """Every message to the number, with text, sender, ids, times and receipts; times in `zone`."""
    number = history.number
    head = html(
        '<h1>Messages to {number}</h1><p class="soft">{count} in all, oldest first. '
        "All times are in {zone}. Written on {now}.</p>",
        number=number,
        count=len(history.messages),
        zone=zone,
        now=show_time(history.looked_at),
    )
    if history.is_cut:
        head += html("<p>Older messages are left out.</p>")
    messages = join(
        _message_section(place, record, show_time, zone)
        for place, record in enumerate(history.messages, start=1)
    )
    return page(f"Messages to {number}", head + messages + _withheld(history, show_time, zone))


def _withheld(history: NumberHistory, show_time: ShowTime, zone: str) -> Markup:
    """Rows of files that got no message, and since when the number must not be texted."""
    shown = Markup()
    if history.rejected:
        shown += table(
            f"Rows without a message; times in {zone}",
            ("submitted", "campaign", "name", "row", "why", "reason"),
            [(show_time(r.created_at), r.campaign_id, r.campaign, r.row, r.kind, r.reason)
             for r in history.rejected],
            numeric=(1, 3), wide=(5,),
        )  # fmt: skip
    if history.suppressions:
        shown += table(
            f"On the suppression list; times in {zone}",
            ("since", "for", "reason", "from", "by"),
            [(show_time(e.at), f"account {e.account}" if e.account else "all accounts",
              e.reason or "", e.source, e.actor) for e in history.suppressions],
            numeric=(), wide=(2,),
        )  # fmt: skip
    return shown


def _message_section(place: int, record: MessageRecord, show_time: ShowTime, zone: str) -> Markup:
    what = "Single message" if record.is_single else f"Campaign {record.campaign_id}"
    sent = show_time(record.submitted_at) if record.submitted_at is not None else None
    title = html(
        '<h2>{place}. {state}{when}</h2><p class="soft">{what}: {name}</p>',
        place=place,
        state=record.state.replace("_", " ").capitalize(),
        when=f", {sent}" if sent else "",
        what=what,
        name=record.campaign,
    )
    if record.text is not None:
        text = html('<div class="text" dir="auto">{}</div>', record.text)
    else:
        text = html(
            "<p>The provider filled its template <code>{}</code>; it has the text. Values: {}</p>",
            record.template,
            ", ".join(record.template_values) or "none",
        )
    return html("<section>{}</section>", title + text + _details(record, sent, show_time, zone))


def _details(record: MessageRecord, sent: str | None, show_time: ShowTime, zone: str) -> Markup:
    said = ": ".join(filter(None, (record.error_code, record.error)))
    shown = facts(
        [
            ("Sender", record.sender),
            ("Submitted", sent),
            (
                "Final",
                show_time(record.final_at) if record.final_at is not None else None,
            ),
            ("State", record.state.replace("_", " ")),
            ("Reason", said),
            ("Provider's message id", record.provider_message_id),
            ("Further ids", ", ".join(record.other_ids)),
            ("Job id", record.job_id),
            ("Account", record.account),
            ("Parts", record.parts),
            ("Cost", record.cost),
        ]
    )
    if record.notes:
        shown += html("<p>{}</p>", "; ".join(record.notes).capitalize() + ".")
    if record.attempts:
        shown += table(
            f"Requests to the provider; times in {zone}",
            ("attempt", "submitted", "answered", "account", "outcome", "became", "final", "ids",
             "reason"),
            [_attempt_cells(one, show_time) for one in record.attempts],
            numeric=(), wide=(8,),
        )  # fmt: skip
    if record.attempt_count > len(record.attempts):
        shown += html(
            "<p>It was in {} requests in all; those not listed were not accepted.</p>",
            record.attempt_count,
        )
    if record.decisions:
        shown += table(
            f"Decisions about the campaign, and about this recipient; times in {zone}",
            ("when", "who", "what", "about", "detail"),
            [
                (show_time(d.at), d.actor, d.action, d.about, d.detail or "")
                for d in record.decisions
            ],
            numeric=(),
            wide=(4,),
        )
    return shown


def _attempt_cells(one: AttemptRecord, show_time: ShowTime) -> tuple[object, ...]:
    def at(moment: datetime | None) -> str:
        return show_time(moment) if moment is not None else ""

    ids = ", ".join(filter(None, (one.provider_message_id, one.job_id and f"job {one.job_id}")))
    said = ": ".join(filter(None, (one.error_code, one.error)))
    return (
        one.number, at(one.begun_at), at(one.ended_at), one.account,
        one.outcome.replace("_", " "), (one.state or "").replace("_", " "), at(one.final_at), ids,
        said,
    )  # fmt: skip
