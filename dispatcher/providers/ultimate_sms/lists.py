"""Reads an Ultimate SMS server's list of messages and its balance, both beyond the documents."""

import re
from types import MappingProxyType
from typing import Final

from dispatcher.providers.shared.answers import unreadable_error
from dispatcher.providers.shared.error_texts import one_line
from dispatcher.providers.shared.fields import (
    read_amount,
    read_entries,
    read_id,
    read_text,
    read_time,
)
from dispatcher.providers.shared.matching import is_sender_name, read_msisdn
from dispatcher.providers.ultimate_sms.answers import read_status
from dispatcher.types import Balance, ListedMessage, ListPage

_INBOUND: Final = frozenset({"in", "inbound", "incoming", "received"})
_BALANCES: Final = MappingProxyType({"remaining_unit": "units", "remaining_balance": "balance"})
#: `286`, `1,250.50`, and with a currency's sign, as `₱286`.
_MONEY: Final = re.compile(
    r"[^\d.,-]{0,8}(-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|-?[0-9.]+)\D{0,8}"
)


def read_list_page(page: int, data: object) -> ListPage:
    """A Laravel page: `data`, `current_page`, `last_page`, `next_page_url`. Raises ProviderError.

    Another page than the requested one is an error: it would prove that messages on the right page
    are absent.
    """
    fields = data if isinstance(data, dict) else {}
    inner = fields.get("data")
    entries = data if isinstance(data, list) else inner if inner == [] else read_entries(inner)
    if entries is None:
        raise unreadable_error("page of messages")
    if "current_page" in fields and _read_count(fields["current_page"]) != page + 1:
        raise unreadable_error(f"page {page + 1} of messages")
    last = _read_count(fields.get("last_page"))
    more = bool(entries) and (bool(fields.get("next_page_url")) or last > page + 1)
    sent = [entry for entry in entries if not _is_inbound(entry)]
    listed = [found for entry in sent if (found := _read_listed(entry)) is not None]
    return ListPage(
        entries=tuple(listed),
        next_page=page + 1 if more else None,
        # A bare list may be the start of a longer one.
        whole=entries is not data
        and len(listed) == len(sent)
        and all(one.msisdn is not None for one in listed),
    )


def read_balances(data: object) -> list[Balance]:
    """`remaining_unit` or `remaining_balance`; empty where it is a word such as "Unlimited".

    Raises ProviderError where there is neither.
    """
    fields = data if isinstance(data, dict) else {}
    if any(read_text(fields, field).isalpha() for field in _BALANCES):
        return []
    found = []
    for field, package in _BALANCES.items():
        money = _MONEY.fullmatch(read_text(fields, field))
        left = read_amount(money.group(1).replace(",", "")) if money else None
        if left is not None:
            found.append(Balance(package=package, amount=left))
    if not found:
        raise unreadable_error("balance")
    return found


def _is_inbound(entry: object) -> bool:
    """Whether it is a reply. Some servers list no direction: a message to a name is a reply."""
    if not isinstance(entry, dict):
        return False
    # `send_by` says which side sent the message: "to" is the recipient.
    return (
        read_text(entry, "direction").casefold() in _INBOUND
        or read_text(entry, "send_by") == "to"
        or is_sender_name(entry.get("to"))
    )


def _read_listed(entry: object) -> ListedMessage | None:
    """An entry of the list; None where it has no id."""
    fields = entry if isinstance(entry, dict) else {}
    message_id = read_id(fields.get("uid"))
    if message_id is None:
        return None
    text = fields.get("message")
    status = read_status(fields)
    return ListedMessage(
        provider_message_id=message_id,
        msisdn=read_msisdn(fields.get("to")),
        text=text if isinstance(text, str) else None,
        sender=one_line(read_text(fields, "from")) or None,
        state=status.state,
        raw=status.word,
        provisional=status.provisional,
        created_at=read_time(read_text(fields, "created_at")),
        cost=read_amount(fields.get("cost")),
    )


def _read_count(value: object) -> int:
    text = read_id(value) or ""
    return int(text) if text.isdigit() else 0
