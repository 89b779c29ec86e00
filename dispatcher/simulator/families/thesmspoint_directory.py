"""Senders and templates of the simulated TheSMSPoint account, as its two look-ups return them."""

from types import MappingProxyType
from typing import Final

_SENDERS: Final = (
    ("4101", "SENDER", "Transactional", "Order updates", "Approved"),
    ("4102", "PROMO", "Promotional", "Offers", "Approved"),
    ("4103", "OTPSND", "OTP", "One-time passwords", "Approved"),
    ("4104", "NEWSND", "Transactional", "Order updates", "Pending"),
)
_TEMPLATES: Final = (
    ("7201", "TEMPLATE", "Transactional", "SENDER", "{#var#}", "Approved"),
    ("7202", "PROMOTPL", "Promotional", "PROMO", "An offer for you: {#var#}", "Approved"),
    ("7203", "OTPTPL", "OTP", "OTPSND", "{#var#} is your one-time password", "Approved"),
    ("7204", "NEWTPL", "Transactional", "SENDER", "Your order {#var#} is on its way", "Pending"),
    ("7205", "DEARTPL", "Transactional", "SENDER", "Dear {#var#}, {#var#}", "Approved"),
)

#: The `sender_id` of a request → entry of `get-sender-id`.
SENDERS: Final = MappingProxyType(
    {
        id_: {
            "id": id_,
            "entity_id": "1101000000000000001",
            "type_value": kind,
            "sender_id": name,
            "purpose_value": purpose,
            "approve_status": status,
        }
        for id_, name, kind, purpose, status in _SENDERS
    }
)
#: The `template_id` of a request → entry of `get-templates`.
TEMPLATES: Final = MappingProxyType(
    {
        f"110716000000000{id_}": {
            "id": id_,
            "name": name,
            "template_id": f"110716000000000{id_}",
            "type": kind,
            "sender_id": sender,
            "message": text,
            "template_status": status,
        }
        for id_, name, kind, sender, text, status in _TEMPLATES
    }
)
