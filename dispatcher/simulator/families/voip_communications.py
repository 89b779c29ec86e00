"""A simulated voip-communications.net, as its document is written; its own dates are in UTC.

HTTP 401 is the only refusal that the document prints: other codes and texts, and all of
`sms/summary`, are beyond it. A recipient list has no known limit.
"""

import base64
import binascii
import re
from array import array
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import ClassVar, Final

from dispatcher.simulator import texts as texts_of
from dispatcher.simulator.families.base import Call, Family, Refusal, Reply, show_number
from dispatcher.simulator.faults import CallKind
from dispatcher.simulator.fields import media_type
from dispatcher.simulator.ledger import LedgerRow
from dispatcher.simulator.receipts import Fate
from dispatcher.simulator.state import SimulatorState, Submission

PER_PAGE: Final = 25
_WORDS: Final = MappingProxyType(
    {
        Fate.SENT: "SENT",
        Fate.DELIVERED: "DELIVERED",
        Fate.UNDELIVERED: "UNDELIVERED",
        Fate.EXPIRED: "EXPIRED",
    }
)
#: A 2-way number of the account, to which people reply.
_OWN_NUMBER: Final = "17134567890"
#: The price of a part, in cents.
_CENTS: Final = 1
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")
_PAGE: Final = re.compile("[0-9]{1,9}")
#: An inbound message, which the summary shows among the others.
_INBOUND: Final = MappingProxyType(
    {
        "sms_id": "20175500000000000000000in01",
        "sms_external": "12815550199",
        "sms_country": "US",
        "sms_status": "RECEIVED",
        "sms_msg": "STOP",
        "sms_sale": "0.0000",
    }
)


class SimulatedVoipCommunications(Family):
    """One account at voip-communications.net; its balance is in cents."""

    base_path = "api-v2/index.php"
    pushes = True
    balances: ClassVar[Mapping[str, int]] = MappingProxyType({"cents": 100_000_000})
    credentials_text = "Invalid api credentials"
    credit_text = "Not enough balance"

    def __init__(self, name: str, state: SimulatorState) -> None:
        super().__init__(name, state)
        self._sent = array("Q")
        self._commands: Mapping[str, Callable[[Call], Reply]] = {
            "sms/send": self._send_message,
            "sms/summary": self._show_summary,
        }

    def pushed_receipt(self, row: LedgerRow, fate: Fate) -> Mapping[str, str]:
        """Under the names of `send_log`; the document names no format."""
        return {
            "smsid": row["message_id"],
            "from": row["sender_id"],
            "to": row["number"],
            "status": _WORDS[fate],
        }

    def pushed_reply(self, number: str, text: str) -> Mapping[str, str]:
        """As `pushed_receipt`, from the person to a number of the account."""
        return {"from": number, "to": _OWN_NUMBER, "msg": text}

    def classify_call(self, method: str, path: str) -> CallKind:
        """`sms/send` submits; the summary is a look-up."""
        del method
        return CallKind.SUBMIT if path == "sms/send" else CallKind.LOOKUP

    def error_reply(self, text: str, status: int) -> Reply:
        """`error` and `error_message`."""
        return Reply.from_data({"error": True, "error_message": text}, status)

    def answer_call(self, call: Call) -> Reply:
        """Check path, method, credentials and encoding, then carry out the command.

        Raises Refusal.
        """
        command = self._commands.get(call.path)
        if command is None:
            raise self.malformed_refusal("no such command", "Unknown method", 404)
        if call.method != "POST":
            raise self.malformed_refusal(f"{call.method} is not allowed", "Unknown method", 405)
        self._check_credentials(call.headers.get("Authorization", ""))
        content_type = media_type(call.headers)
        if content_type != "application/x-www-form-urlencoded":
            raise self.malformed_refusal(
                "the body is not application/x-www-form-urlencoded", "No form"
            )
        return command(call)

    def _check_credentials(self, header: str) -> None:
        """HTTP Basic (RFC 7617). Raises Refusal, with 401."""
        scheme, _, credentials = header.partition(" ")
        try:
            pair = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        key, colon, password = pair.partition(":")
        if scheme != "Basic" or not colon:
            reason = "header Authorization is missing or is not Basic"
            raise self.malformed_refusal(reason, self.credentials_text, 401)
        if not password or not self.state.knows_key(key):
            self.state.stats.counts["unauthorized"] += 1
            raise Refusal(self.error_reply(self.credentials_text, 401))

    def _send_message(self, call: Call) -> Reply:
        fields = call.fields
        self.check_fields(call, "from", "to", "msg", "delivery_date")
        listed = self.read_text(fields.get("to"), "to").split(",")
        numbers = [self.read_number(one, "to") for one in listed]
        text = self.read_text(fields.get("msg"), "msg")
        details = {
            "sender_id": self.read_number(fields["from"], "from") if fields.get("from") else ""
        }
        if fields.get("delivery_date"):
            details["delivery_date"] = self._read_date(fields["delivery_date"])
        refused = call.faults.choose_indexes("some_refused", range(len(numbers)))
        log = [
            _refused_entry(call, numbers[i], 400, "Invalid phone number") for i in sorted(refused)
        ]
        taken = [number for i, number in enumerate(numbers) if i not in refused]
        paid = min(len(taken), self.state.balances[self.name]["cents"] // _price_cents(text))
        self.state.charge_balance(self.name, "cents", _price_cents(text) * paid)
        log += self._accept_numbers(call, taken[:paid], text, details)
        log += [_refused_entry(call, number, 402, self.credit_text) for number in taken[paid:]]
        return Reply.from_data(log if "bare_array" in call.faults else {"send_log": log})

    def _accept_numbers(
        self, call: Call, numbers: list[str], text: str, details: Mapping[str, str]
    ) -> list[dict[str, object]]:
        """Store the accepted numbers; their entries of the answer."""
        if not numbers:
            return []
        first = self.state.ledger.next_message
        serials = range(first, first + len(numbers))
        ids = [self._format_id(serial) for serial in serials]
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
        self._sent.extend(serials)
        when = details.get("delivery_date") or _format_provider_time(call.arrived)[:16]
        unclear = call.faults.choose_indexes("unknown_code", shown)
        log = []
        for i in shown:
            entry: dict[str, object] = {
                "code": "200" if "code_string" in call.faults else 200,
                "code_desc": "",
                "from": details["sender_id"],
                "to": show_number(call, numbers[i]),
                "country": "US",
                "msg": text,
                "delivery_date": f"{when}:00",
                "sale": _price_cents(text) / 100,
                "type": "2WAYSMS" if details["sender_id"] else "BULKSMS",
                "status": "SCHEDULED",
                "smsid": ids[0] if "shared_id" in call.faults else ids[i],
            }
            if i in unclear:
                entry |= {"code": 777, "code_desc": "Waiting For Carrier", "smsid": ""}
            log.append(entry)
        return log

    def _show_summary(self, call: Call) -> Reply:
        """A page of the account's messages, newest first; pages count from 0."""
        self.check_fields(call, "page")
        wanted = str(call.fields.get("page", ""))
        if _PAGE.fullmatch(wanted) is None:
            raise self.malformed_refusal("page is not a number from 0", "Invalid page")
        end = max(0, len(self._sent) - int(wanted) * PER_PAGE)
        serials = self._sent[max(0, end - PER_PAGE) : end]
        rows = (self.state.ledger.find_message(serial) for serial in reversed(serials))
        page = [self._summary_entry(call, row) for row in rows if row is not None]
        if "inbound" in call.faults and page:
            page.insert(0, {**_INBOUND, "sms_status_date": _format_provider_time(call.arrived)})
        return Reply.from_data(page if "bare_array" in call.faults else {"summary": page})

    def _summary_entry(self, call: Call, row: LedgerRow) -> dict[str, object]:
        at, word = row["at"], "SCHEDULED"
        if "delivery_date" in row:
            due = datetime.fromisoformat(f"{row['delivery_date']}:00+00:00").timestamp()
            at = max(at, due)
        if at <= call.arrived:
            word = _WORDS[self.state.receipts.fate_at(int(row["number"]), at, call.arrived)]
        return {
            "sms_id": row["message_id"],
            "sms_external": show_number(call, row["number"]),
            "sms_country": "US",
            "sms_status": word.lower() if "status_case" in call.faults else word,
            "sms_status_date": _format_provider_time(min(at, call.arrived)),
            "sms_msg": row["text"],
            "sms_sale": f"{_price_cents(row['text']) / 100:.4f}",
        }

    def _format_id(self, serial: int) -> str:
        """27 characters, as in the document."""
        return f"2017550ea27{self.state.seed & 0xFFFFFF:06x}{serial:010d}"

    def _read_date(self, value: object) -> str:
        """`YYYY-MM-DD HH:MM`: of "any valid date format", the only one that is stated."""
        text = self.read_text(value, "delivery_date")
        try:
            if _DATE.fullmatch(text):
                datetime.fromisoformat(text)
                return text
        except ValueError:
            pass
        raise self.malformed_refusal(
            "delivery_date is not YYYY-MM-DD HH:MM", "Invalid delivery_date"
        )


def _refused_entry(call: Call, number: str, code: int, words: str) -> dict[str, object]:
    return {
        "code": str(code) if "code_string" in call.faults else code,
        "code_desc": words,
        "to": show_number(call, number),
        "status": "ERROR",
        "smsid": "",
    }


def _price_cents(text: str) -> int:
    """Cents: "split it into messages of 153 characters each"; shorter ones in unicode."""
    return _CENTS * texts_of.count_parts(text, unicode=not texts_of.fits_gsm7(text))


def _format_provider_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
