"""Reads an Ultimate SMS server's list of messages and its balance, both beyond the documents."""

import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from dispatcher.messages import Balance, ListedMessage, ListPage
from dispatcher.providers.answers import amount, identifier, unreadable
from dispatcher.providers.matching import as_msisdn
from dispatcher.providers.ultimate_sms_answers import status_of, text_of
from dispatcher.providers.words import plain

_INBOUND: Final = frozenset({"in", "inbound", "incoming", "received"})
_BALANCES: Final = MappingProxyType({"remaining_unit": "units", "remaining_balance": "balance"})
#: `286`, `1,250.50`, and with a currency's sign, as `₱286`.
_MONEY: Final = re.compile(
    r"[^\d.,-]{0,8}(-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|-?[0-9.]+)\D{0,8}"
)


def list_page(page: int, data: object) -> ListPage:
    """A Laravel page: `data`, `current_page`, `last_page`, `next_page_url`. Raises ProviderError.

    Another page than was asked for would prove the absence of what stands on the right one.
    """
    entries = data.get("data") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(entries, list):
        raise unreadable("page of messages")
    if "current_page" in data and _count(data["current_page"]) != page + 1:
        raise unreadable(f"page {page + 1} of messages")
    last = _count(data.get("last_page"))
    more = bool(entries) and (bool(data.get("next_page_url")) or last > page + 1)
    listed = (_listed(entry) for entry in entries)
    return ListPage(
        entries=tuple(entry for entry in listed if entry is not None),
        next_page=page + 1 if more else None,
    )


def balances(data: object) -> list[Balance]:
    """`remaining_unit` or `remaining_balance`. Raises ProviderError where there is neither."""
    fields = data if isinstance(data, dict) else {}
    found = []
    for field, package in _BALANCES.items():
        money = _MONEY.fullmatch(text_of(fields, field))
        left = amount(money.group(1).replace(",", "")) if money else None
        if left is not None:
            found.append(Balance(package=package, amount=left))
    if not found:
        raise unreadable("balance")
    return found


def _listed(entry: object) -> ListedMessage | None:
    """An entry of the list; None where it came in. Raises ProviderError where it is unreadable."""
    fields = entry if isinstance(entry, dict) else {}
    # A report's `send_by` says whose number the message was sent by: "to" came in.
    if text_of(fields, "direction").casefold() in _INBOUND or text_of(fields, "send_by") == "to":
        return None
    message_id, msisdn = identifier(fields.get("uid")), as_msisdn(fields.get("to"))
    if message_id is None or msisdn is None:
        raise unreadable("number or id of a listed message")
    text = fields.get("message")
    word, _, state = status_of(fields)
    return ListedMessage(
        provider_message_id=message_id,
        msisdn=msisdn,
        text=text if isinstance(text, str) else None,
        sender=plain(text_of(fields, "from")) or None,
        state=state,
        raw=word,
        created_at=_moment(text_of(fields, "created_at")),
        cost=amount(fields.get("cost")),
    )


def _moment(text: str) -> datetime | None:
    """A time with a zone, as Laravel writes it; without one it is nobody knows whose."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _count(value: object) -> int:
    text = identifier(value) or ""
    return int(text) if text.isdigit() else 0
