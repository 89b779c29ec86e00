"""A simulated TheSMSPoint, as its document is written, with the shapes its examples disagree on.

The tables require `Accept`, which the .NET examples leave out: without it a request is refused. In
a GET all fields are in the URL, the key as `apiKey`. HTTP codes are not documented: documented
refusals come under 200, malformed requests under 404, 405 and 422.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import orjson

from dispatcher.simulator import texts as texts_of
from dispatcher.simulator.families.base import Call, Family, Refusal, Reply, show_number
from dispatcher.simulator.families.thesmspoint_directory import SENDERS, TEMPLATES
from dispatcher.simulator.faults import CallKind
from dispatcher.simulator.ledger import LedgerRow
from dispatcher.simulator.receipts import Fate
from dispatcher.simulator.state import SimulatorState, Submission

MAX_RECIPIENTS: Final = 2000
#: "The message will be truncated to 765 characters", which is five parts.
_MAX_PARTS: Final = 5
_WORDS: Final = MappingProxyType(
    {
        Fate.SENT: "Sent",
        Fate.DELIVERED: "Delivered",
        Fate.UNDELIVERED: "UnDelivered",
        Fate.EXPIRED: "Expired",
    }
)
#: Our guess of what the channels mean: a request that disagrees is counted, not refused.
_CHANNELS: Final = MappingProxyType({1: "Transactional", 2: "Promotional", 3: "OTP"})
_KINDS: Final = MappingProxyType(
    {
        "send-single-sms": CallKind.SUBMIT,
        "send-bulk-sms": CallKind.SUBMIT,
        "sms-delivery-status": CallKind.STATUS,
    }
)


class SimulatedTheSMSPoint(Family):
    """One account at TheSMSPoint."""

    base_path = "api/v1"
    balances: ClassVar[Mapping[str, int]] = MappingProxyType(
        {"OTP": 100_000_000, "Promotional": 100_000_000, "Transactional": 100_000_000}
    )
    credentials_text = "API Key Does Not Exists"
    credit_text = "SMS Credits Not Available"

    def __init__(self, name: str, state: SimulatorState) -> None:
        super().__init__(name, state)
        self._job_base = 100_000_000 + state.seed * 7_368_787 % 800_000_000
        self._message_base = 10_000_000_000 + state.seed * 982_451_653 % 80_000_000_000
        self._commands: Mapping[str, Callable[[Call], Reply]] = {
            "get-sms-balance": self._show_balance,
            "get-sender-id": lambda _: _success_reply(list(SENDERS.values())),
            "get-templates": lambda _: _success_reply(list(TEMPLATES.values())),
            "send-single-sms": self._send_single,
            "send-bulk-sms": self._send_bulk,
            "sms-delivery-status": self._show_status,
        }

    def classify_call(self, method: str, path: str) -> CallKind:
        """Two commands submit, one is about the status, the others are look-ups."""
        del method
        return _KINDS.get(path, CallKind.LOOKUP)

    def error_reply(self, text: str, status: int) -> Reply:
        """The document's error object."""
        return Reply.from_data({"status": "error", "message": text, "data": None}, status)

    def answer_call(self, call: Call) -> Reply:
        """Check path, method, key and headers, then carry out the command. Raises Refusal."""
        command = self._commands.get(call.path)
        if command is None:
            raise self.malformed_refusal("no such command", "Command Not Found", 404)
        if call.method not in {"GET", "POST"}:
            raise self.malformed_refusal(
                f"{call.method} is not allowed", "Request Type Not Allowed", 405
            )
        key = call.headers.get("key", "")
        if call.method == "GET":
            self.state.stats.counts["get_requests"] += 1
            key = key or str(call.fields.get("apiKey") or "")
        elif call.headers.get("Accept", "").strip().lower() != "application/json":
            raise self.malformed_refusal(
                "header Accept is not application/json", "Invalid Accept Header"
            )
        if not key:
            raise self.malformed_refusal("header key is missing", self.credentials_text, 200)
        if not self.state.knows_key(key):
            self.state.stats.counts["unauthorized"] += 1
            raise Refusal(self.error_reply(self.credentials_text, 200))
        return command(call)

    def _show_balance(self, call: Call) -> Reply:
        del call
        return _success_reply({"balance": self.state.balances[self.name]})

    def _send_single(self, call: Call) -> Reply:
        number = self.read_number(call.fields.get("recipient"), "recipient")
        text = self.read_text(call.fields.get("message"), "message")
        return self._submit_texts(call, [number], [text])

    def _send_bulk(self, call: Call) -> Reply:
        raw = self.read_text(call.fields.get("recipient"), "recipient")
        try:
            entries = orjson.loads(raw)
        except orjson.JSONDecodeError:
            entries = None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.malformed_refusal(
                "recipient is not a JSON list of objects", "Invalid Recipient"
            )
        if not entries:
            raise self.malformed_refusal("recipient is an empty list", "Invalid Recipient")
        if len(entries) > MAX_RECIPIENTS:
            raise self.malformed_refusal(
                f"{len(entries)} recipients, more than {MAX_RECIPIENTS}",
                "Maximum 2000 contacts or numbers can be use in a single request",
            )
        numbers = [self.read_number(entry.get("number"), "number") for entry in entries]
        texts = [self.read_text(entry.get("text"), "text") for entry in entries]
        return self._submit_texts(call, numbers, texts, may_be_short=True)

    def _submit_texts(
        self, call: Call, numbers: list[str], texts: list[str], *, may_be_short: bool = False
    ) -> Reply:
        details = self._read_route(call)
        self._charge_texts(str(details["sender_id"]), texts, unicode=details["is_unicode"] == 1)
        ledger = self.state.ledger
        details["job_id"] = job_id = str(self._job_base + ledger.next_job)
        first = self._message_base + ledger.next_message
        ids = [str(first + index) for index in range(len(numbers))]
        shown = self.state.record_submission(
            Submission(
                provider=self.name,
                arrived=call.arrived,
                numbers=numbers,
                texts=texts,
                ids=ids,
                details=details,
                faults=call.faults,
            )
        )
        data: dict[str, object]
        if may_be_short and "short" in call.faults:
            data = {"status": "success", "message_id": job_id}
        else:
            data = {
                "ErrorCode": "000",
                "ErrorMessage": "Success",
                "JobId": job_id,
                "MessageData": [
                    {
                        "Number": show_number(call, numbers[i]),
                        "message_id": ids[i],
                        "message": texts[i],
                    }
                    for i in shown
                ],
            }
        return Reply.from_data(
            {
                "status": "success",
                "message": "SMS Sent Successfully",
                "data": data,
                "code": "200" if "code_string" in call.faults else 200,
            }
        )

    def _read_route(self, call: Call) -> dict[str, object]:
        """The checked fields that single and bulk requests share."""
        sender = _find_entry(
            SENDERS, self.read_text(call.fields.get("sender_id"), "sender_id"), "sender_id"
        )
        if sender is None or sender["approve_status"] != "Approved":
            raise self.malformed_refusal(
                "sender_id is not the id of an approved sender", "Invalid Sender ID"
            )
        template_id = self.read_text(call.fields.get("template_id"), "template_id")
        template = _find_entry(TEMPLATES, template_id, "name")
        if template is None or template["template_status"] != "Approved":
            raise self.malformed_refusal(
                "template_id is not the id of an approved template", "Invalid Template ID"
            )
        if template["sender_id"] != sender["sender_id"]:
            raise self.malformed_refusal(
                "template_id belongs to another sender", "Invalid Template ID"
            )
        channel = self.read_choice(call.fields.get("channel"), "channel", "123")
        if _CHANNELS[channel] != sender["type_value"]:
            self.state.stats.counts["channel_mismatches"] += 1
        return {
            "sender_id": sender["id"],
            "template_id": template["template_id"],
            "channel": channel,
            "is_unicode": self.read_choice(call.fields.get("is_unicode"), "is_unicode", "01"),
        }

    def _charge_texts(self, sender_id: str, texts: list[str], *, unicode: bool) -> None:
        """Compare the flag with the texts, and take their credits. Raises Refusal."""
        counts = self.state.stats.counts
        outside = texts_of.count_outside_gsm7(texts)
        if unicode:
            counts["needless_unicode"] += len(texts) - outside
        elif outside:
            counts["flag_mismatches"] += outside
            raise self.malformed_refusal(
                f"is_unicode is 0, and {outside} texts do not fit GSM-7", "Invalid Is Unicode"
            )
        parts = texts_of.count_parts_of_each(texts, unicode=unicode)
        credits_ = sum(min(count, _MAX_PARTS) for count in parts)
        if not self.state.charge_balance(self.name, SENDERS[sender_id]["type_value"], credits_):
            raise Refusal(self.error_reply(self.credit_text, 200))
        counts["truncated_texts"] += sum(count > _MAX_PARTS for count in parts)

    def _show_status(self, call: Call) -> Reply:
        value = call.fields.get("job_id")
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise self.malformed_refusal(
                "job_id is missing or of another type", "Invalid Message ID"
            )
        text = str(value)
        known = text.isascii() and text.isdigit() and len(text) <= 18
        job = self.state.ledger.find_job(int(text) - self._job_base) if known else None
        if job is None or job[1][0]["provider"] != self.name:
            raise Refusal(self.error_reply("Invalid Message ID", 200))
        return self._status_reply(call, text, *job)

    def _status_reply(self, call: Call, job_id: str, at: float, rows: list[LedgerRow]) -> Reply:
        fate = self.state.receipts.fate_at
        words = [_status_word(call, fate(int(row["number"]), at, call.arrived)) for row in rows]
        if "single_object" in call.faults and len(rows) == 1:
            return _success_reply(
                {
                    "status": "success",
                    "recipient": show_number(call, rows[0]["number"]),
                    "sender_id": SENDERS[rows[0]["sender_id"]]["sender_id"],
                    "content": rows[0]["text"],
                    "delivery_status_id": words[0],
                    "delivery_status_remark": "",
                },
                message=None,
            )
        odd = "recipient_field" in call.faults
        data = [
            {
                "status_name": words[i],
                "recipient" if odd and i % 2 == 0 else "mobile_number": show_number(
                    call, rows[i]["number"]
                ),
                "content": rows[i]["text"],
                "message_id": rows[i]["message_id"],
            }
            for i in call.faults.arrange_rows(list(range(len(rows))))
        ]
        status = "error" if "status_error" in call.faults else "success"
        return Reply.from_data({"status": status, "job_id": job_id, "data": data, "code": "200"})


def _success_reply(data: object, message: str | None = "") -> Reply:
    return Reply.from_data({"status": "success", "message": message, "data": data})


def _find_entry(
    entries: Mapping[str, dict[str, str]], value: str, name: str
) -> dict[str, str] | None:
    """The entry with that id or name: the document's examples print names in place of ids."""
    by_name = (entry for entry in entries.values() if entry[name] == value)
    return entries.get(value) or next(by_name, None)


def _status_word(call: Call, fate: Fate) -> str:
    if "status_case" in call.faults:
        return "U" if fate is Fate.UNDELIVERED else _WORDS[fate].lower()
    return _WORDS[fate]
