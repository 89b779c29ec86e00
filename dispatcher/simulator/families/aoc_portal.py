"""A simulated AOC Portal, as its document is written: it only submits, and shows nothing.

The document prints no refusal: codes and texts of refusals are beyond it, and so are PROMO and the
path of the template call. A list of numbers may have a space after each comma, as printed.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from dispatcher.simulator import texts as texts_of
from dispatcher.simulator.families.base import Call, Family, Refusal, Reply, show_number
from dispatcher.simulator.faults import CallKind
from dispatcher.simulator.fields import media_type
from dispatcher.simulator.state import Submission

#: Templates whose text the simulator knows, by id; any other template accepts all values.
TEMPLATES: Final = MappingProxyType(
    {
        "1507160000000000001": "Dear {#var#}, your order {#var#} is on its way.",
        "1507160000000000002": "Our shop is open today.",
    }
)
_VARIABLE: Final = "{#var#}"
_TYPES: Final = frozenset({"TRANS", "OTP", "PROMO"})
_TEMPLATE_ID: Final = re.compile("[0-9A-Za-z_-]{1,64}")


class SimulatedAOCPortal(Family):
    """One account at AOC Portal."""

    base_path = "v1/sms"
    balances: ClassVar[Mapping[str, int]] = MappingProxyType({"credits": 100_000_000})
    credentials_text = "Invalid API Key"
    credit_text = "Insufficient balance"

    def classify_call(self, method: str, path: str) -> CallKind:
        """Every call submits."""
        del method, path
        return CallKind.SUBMIT

    def error_reply(self, text: str, status: int) -> Reply:
        """The fields of an answer, with `error` not null."""
        return Reply.from_data(
            {"id": None, "data": [], "totalCount": 0, "message": "", "error": text}, status
        )

    def answer_call(self, call: Call) -> Reply:
        """Check path, method, headers and key, then submit. Raises Refusal."""
        if call.path not in {"", "template"}:
            raise self.malformed_refusal("no such path", "Not Found", 404)
        if call.method != "POST":
            raise self.malformed_refusal(f"{call.method} is not allowed", "Method Not Allowed", 405)
        content_type = media_type(call.headers)
        if content_type != "application/json":
            raise self.malformed_refusal(
                "Content-Type is not application/json", "Invalid Content-Type"
            )
        key = call.headers.get("apiKey", "")
        if not key:
            raise self.malformed_refusal("header apiKey is missing", self.credentials_text, 401)
        if not self.state.knows_key(key):
            self.state.stats.counts["unauthorized"] += 1
            raise Refusal(self.error_reply(self.credentials_text, 401))
        # The document gives no path; `custom` without `text` is the template call.
        is_bare = "custom" in call.fields and "text" not in call.fields
        return self._send_template(call) if call.path or is_bare else self._send_text(call)

    def _send_text(self, call: Call) -> Reply:
        self.check_fields(call, "sender", "to", "text", "type", "unicode", "flash", "templateId")
        listed = self.read_text(call.fields.get("to"), "to").split(",")
        numbers = [self.read_number(one.removeprefix(" "), "to") for one in listed]
        text = self.read_text(call.fields.get("text"), "text")
        details = self._read_route(call)
        for flag in ("unicode", "flash"):
            if flag in call.fields:
                details[flag] = self._read_flag(call, flag)
        if "templateId" in call.fields:
            details["template_id"] = self._read_template_id(call)
        self._check_unicode(text, flagged="unicode" in details)
        return self._submit_to(call, numbers, text, details)

    def _send_template(self, call: Call) -> Reply:
        self.check_fields(call, "sender", "to", "templateId", "custom", "type")
        number = self.read_number(call.fields.get("to"), "to")
        values = call.fields.get("custom")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.malformed_refusal(
                "custom is missing or is not a list of texts", "Invalid custom"
            )
        template_id = self._read_template_id(call)
        details = self._read_route(call) | {"template_id": template_id, "custom": values}
        text = TEMPLATES.get(template_id)
        if text is None:
            text = f"{template_id}: {', '.join(values)}"
        elif text.count(_VARIABLE) != len(values):
            raise self.malformed_refusal("custom has another number of values", "Invalid custom")
        for value in values:
            text = text.replace(_VARIABLE, value, 1)
        return self._submit_to(call, [number], text, details)

    def _submit_to(
        self, call: Call, numbers: list[str], text: str, details: dict[str, object]
    ) -> Reply:
        parts = texts_of.count_parts(text, unicode=not texts_of.fits_gsm7(text))
        if not self.state.charge_balance(self.name, "credits", parts * len(numbers)):
            raise Refusal(self.error_reply(self.credit_text, 200))
        job = self._format_job_id(self.state.ledger.next_job)
        details["job_id"] = job
        ids = [f"{job}:{place}" for place in range(1, len(numbers) + 1)]
        shown = self.state.record_submission(
            Submission(
                provider=self.name,
                arrived=call.arrived,
                numbers=numbers,
                texts=[text] * len(numbers),
                ids=ids,
                details=details,
                faults=call.faults,
            )
        )
        flags: dict[str, object] = {flag: 1 for flag in ("unicode", "flash") if flag in details}
        return Reply.from_data(
            {
                "id": job,
                "data": [
                    {"recipient": show_number(call, numbers[i]), "messageId": ids[i]} for i in shown
                ],
                "totalCount": len(numbers),
                **flags,
                "message": "Message Sent Successfully!",
                "error": None,
            },
            201 if "created" in call.faults else 200,
        )

    def _read_route(self, call: Call) -> dict[str, object]:
        """The checked fields that all calls share. Raises Refusal."""
        sender = self.read_text(call.fields.get("sender"), "sender")
        kind = self.read_text(call.fields.get("type"), "type")
        if kind not in _TYPES:
            raise self.malformed_refusal(
                f"type is not one of {', '.join(sorted(_TYPES))}", "Invalid type"
            )
        return {"sender_id": sender, "type": kind}

    def _read_template_id(self, call: Call) -> str:
        template_id = self.read_text(call.fields.get("templateId"), "templateId")
        if _TEMPLATE_ID.fullmatch(template_id) is None:
            raise self.malformed_refusal("templateId is not a valid id", "Invalid template id")
        return template_id

    def _read_flag(self, call: Call, name: str) -> int:
        """The flag's value. The document prints only the integer 1. Raises Refusal."""
        value = call.fields[name]
        if type(value) is not int or value != 1:
            raise self.malformed_refusal(f"{name} is not the integer 1", f"Invalid {name}")
        return 1

    def _check_unicode(self, text: str, *, flagged: bool) -> None:
        counts = self.state.stats.counts
        fits = texts_of.fits_gsm7(text)
        if flagged and fits:
            counts["needless_unicode"] += 1
        elif not flagged and not fits:
            counts["flag_mismatches"] += 1
            raise self.malformed_refusal(
                "no unicode, and the text does not fit GSM-7", "Invalid unicode"
            )

    def _format_job_id(self, serial: int) -> str:
        return f"7c1e9a40-{self.state.seed & 0xFFFF:04x}-4000-8000-{serial:012x}"
