"""A simulated Ultimate SMS server, as its resellers' documents are written.

The documents print "sms reports with all details" for `data`: its shapes, the pages and the texts
of errors are those of real servers. Duplicates in a list are dropped silently. The account's time
zone is UTC.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from dispatcher.simulator.families.base import Call, Family, Refusal, Reply
from dispatcher.simulator.families.ultimate_sms_outbox import (
    INBOUND,
    UNDATED,
    WORDS,
    Outbox,
    ShownMessage,
    count_server_parts,
    format_laravel_time,
    read_schedule_time,
    render_message,
    starting_time,
)
from dispatcher.simulator.faults import CallKind
from dispatcher.simulator.fields import media_type
from dispatcher.simulator.ledger import LedgerRow
from dispatcher.simulator.receipts import Fate
from dispatcher.simulator.state import SimulatorState, Submission

MAX_RECIPIENTS: Final = 100
PER_PAGE: Final = 25
#: The contact lists of `sms/campaign`: id → numbers.
CONTACT_LISTS: Final = MappingProxyType(
    {
        "65c0ffee00001": ("8801712000001", "8801712000002", "8801712000003"),
        "65c0ffee00002": ("8801712000003", "8801712000004"),
        # From the document's examples.
        "6415907d0d37a": ("8801712000005",),
        "6415907d0d7a6": ("8801712000006",),
    }
)
#: The last one is the document's own example, although it breaks the document's limit.
_SENDER: Final = re.compile(r"\+?[0-9]{1,15}|.{1,11}|YourName/Number")
_MESSAGE_FIELDS: Final = ("sender_id", "type", "message", "schedule_time", "dlt_template_id")


class SimulatedUltimateSMS(Family):
    """One account at a server of the family."""

    base_path = "api/v3"
    path_name = "ultimate"
    balances: ClassVar[Mapping[str, int]] = MappingProxyType({"units": 100_000_000})
    credentials_text = "Unauthenticated."
    credit_text = "Not enough balance"

    def __init__(self, name: str, state: SimulatorState) -> None:
        super().__init__(name, state)
        self._outbox = Outbox(state.ledger, name, state.seed)
        self._refused = 0
        self._commands: dict[str, tuple[str, Callable[[Call], Reply]]] = {
            "sms/send": ("POST", self._send_message),
            "sms/campaign": ("POST", self._send_to_lists),
            "balance": ("GET", self._show_balance),
            "sms": ("GET", self._list_messages),
        }

    def classify_call(self, method: str, path: str) -> CallKind:
        """A POST submits; one message is its status; pages and the balance are look-ups."""
        if method == "POST":
            return CallKind.SUBMIT
        return CallKind.STATUS if path.startswith("sms/") and path != "sms/" else CallKind.LOOKUP

    def error_reply(self, text: str, status: int) -> Reply:
        """The document's error object."""
        return Reply.from_data({"status": "error", "message": text}, status)

    def answer_call(self, call: Call) -> Reply:
        """Check path, method, headers and token, then carry out the command. Raises Refusal."""
        path = call.path.rstrip("/")  # StandingTech prints `/sms/` for the list
        default = ("GET", self._show_message) if path.startswith("sms/") else None
        command = self._commands.get(path, default)
        if command is None:
            raise self.malformed_refusal("no such command", "The route could not be found.", 404)
        method, carry_out = command
        if call.method != method:
            raise self.malformed_refusal(
                f"{call.method} is not allowed", "Method not supported.", 405
            )
        if call.headers.get("Accept", "").strip().lower() != "application/json":
            raise self.malformed_refusal(
                "header Accept is not application/json", "Invalid Accept Header"
            )
        content_type = media_type(call.headers)
        if method == "POST" and content_type != "application/json":
            raise self.malformed_refusal("the body is not application/json", "Invalid Content-Type")
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            reason = "header Authorization is missing or is not Bearer"
            raise self.malformed_refusal(reason, self.credentials_text, 401)
        if not self.state.knows_key(token):
            self.state.stats.counts["unauthorized"] += 1
            raise Refusal(self.error_reply(self.credentials_text, 401))
        return carry_out(call)

    def _send_message(self, call: Call) -> Reply:
        self.check_fields(call, "recipient", *_MESSAGE_FIELDS)
        listed = self.read_text(call.fields.get("recipient"), "recipient").split(",")
        if len(listed) > MAX_RECIPIENTS:
            raise self.malformed_refusal(
                f"{len(listed)} recipients, more than {MAX_RECIPIENTS}",
                f"You can send to {MAX_RECIPIENTS} numbers at most",
            )
        numbers = list(dict.fromkeys(self.read_number(one, "recipient") for one in listed))
        details = self._read_details(call)
        places = range(len(numbers))
        invalid = call.faults.choose_indexes("invalid_left_out", places)
        refused = call.faults.choose_indexes(
            "some_refused", [i for i in places if i not in invalid]
        )
        taken = [numbers[i] for i in places if i not in invalid | refused]
        rows = self._accept_numbers(call, taken, details)
        rows += [self._refused_row(call, numbers[i]) for i in sorted(refused)]
        data: dict[str, object] = {"status": "success"}
        if invalid:
            data["message"] = "Invalid numbers: " + ", ".join(numbers[i] for i in sorted(invalid))
        if "short" in call.faults:
            data["data"] = "sms reports with all details"
        elif "schedule_time" not in details and "no_data" not in call.faults:
            data["data"] = rows[0] if len(rows) == len(numbers) == 1 else rows
        return Reply.from_data(data)

    def _send_to_lists(self, call: Call) -> Reply:
        self.check_fields(call, "contact_list_id", "recipient", *_MESSAGE_FIELDS)
        # The table has the field `contact_list_id`, the examples have `recipient`.
        given = [call.fields[f] for f in ("contact_list_id", "recipient") if f in call.fields]
        ids = self.read_text(given[0] if given else None, "contact_list_id")
        if given[-1] != ids:
            raise self.malformed_refusal(
                "contact_list_id and recipient differ", "Invalid contact list"
            )
        unknown = [one for one in ids.split(",") if one not in CONTACT_LISTS]
        if unknown:
            raise self.malformed_refusal(
                "contact_list_id is not the id of a known list", "Contact list not found"
            )
        numbers = dict.fromkeys(n for one in ids.split(",") for n in CONTACT_LISTS[one])
        details = self._read_details(call) | {"contact_list_id": ids}
        self._accept_numbers(call, list(numbers), details)
        return Reply.from_data({"status": "success", "data": "campaign reports with all details"})

    def _read_details(self, call: Call) -> dict[str, str]:
        """The checked fields that both ways of sending share. Raises Refusal."""
        fields = call.fields
        sender = self.read_text(fields.get("sender_id"), "sender_id")
        if _SENDER.fullmatch(sender) is None:
            raise self.malformed_refusal(
                "sender_id is longer than 11 characters", "Invalid sender_id"
            )
        if fields.get("type") != "plain":
            raise self.malformed_refusal("type is not plain", "Invalid type")
        details = {"sender_id": sender, "text": self.read_text(fields.get("message"), "message")}
        for name in ("schedule_time", "dlt_template_id"):
            if name in fields:
                details[name] = self.read_text(fields[name], name)
        try:
            if "schedule_time" in details:
                read_schedule_time(details["schedule_time"])
        except ValueError as error:
            raise self.malformed_refusal(
                f"schedule_time is {error}", "Invalid schedule_time"
            ) from None
        return details

    def _accept_numbers(
        self, call: Call, numbers: list[str], details: dict[str, str]
    ) -> list[dict[str, object]]:
        """Charge and store the accepted numbers; their rows of the answer. Raises Refusal."""
        text = details.pop("text")
        if not numbers:
            return []
        if not self.state.charge_balance(
            self.name, "units", count_server_parts(text) * len(numbers)
        ):
            raise Refusal(self.error_reply(self.credit_text, 200))
        serials = self._outbox.next_serials(len(numbers))
        ids = [self._outbox.format_uid(serial) for serial in serials]
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
        self._outbox.add_messages(serials, details.get("schedule_time"), call.arrived)
        field = "status" if len(numbers) == 1 else "customer_status"
        rows = [
            ShownMessage(
                number=numbers[i], message_id=ids[i], sender_id=details["sender_id"], text=text
            )
            for i in shown
        ]
        return [render_message(row, WORDS[Fate.SENT], call.faults, field) for row in rows]

    def _refused_row(self, call: Call, number: str) -> dict[str, object]:
        self._refused += 1
        row = ShownMessage(
            number=number,
            message_id=f"{0x5000000000000 + self._refused:x}",
            sender_id=str(call.fields["sender_id"]),
            text=str(call.fields["message"]),
        )
        return render_message(row, "Rejected|Blacklisted", call.faults) | {"cost": "0"}

    def _show_message(self, call: Call) -> Reply:
        row = self._outbox.find_message(call.path.partition("/")[2], call.arrived)
        if row is None:
            raise Refusal(self.error_reply("SMS Info not found", 404))
        return Reply.from_data(
            {
                "status": "success",
                "data": render_message(row, self._status_word(call, row), call.faults),
            }
        )

    def _list_messages(self, call: Call) -> Reply:
        """A page of Laravel's paginator: newest first, pages count from 1."""
        wanted = str(call.fields.get("page", "1"))
        page = int(wanted) if re.fullmatch("[1-9][0-9]{0,8}", wanted) else 1
        found, total = self._outbox.list_page(page, PER_PAGE, call.arrived)
        rows = [
            render_message(row, self._status_word(call, row), call.faults)
            | {"send_by": "api", "created_at": format_laravel_time(starting_time(row))}
            for row in found
        ]
        if "inbound" in call.faults:
            rows.insert(0, {**INBOUND, "created_at": format_laravel_time(call.arrived)})
        if "undated" in call.faults:
            rows = [{name: row[name] for name in row if name in UNDATED} for row in rows]
        last = max(1, -(-total // PER_PAGE))
        data = {
            "current_page": page,
            "data": rows,
            "per_page": PER_PAGE,
            "last_page": last,
            "total": total,
            "next_page_url": f"/api/v3/sms?page={page + 1}" if page < last else None,
        }
        return Reply.from_data({"status": "success", "data": data})

    def _show_balance(self, call: Call) -> Reply:
        left = self.state.balances[self.name]["units"]
        units = {"remaining_unit": left, "expired_on": "31st Dec 99"}
        money = {"remaining_balance": f"৳{left:,}", "expired_on": "31st Dec 99"}
        data = money if "currency" in call.faults else units
        return Reply.from_data({"status": "success", "data": data})

    def _status_word(self, call: Call, row: LedgerRow) -> str:
        return WORDS[
            self.state.receipts.fate_at(int(row["number"]), starting_time(row), call.arrived)
        ]


class SimulatedSMSNOC(SimulatedUltimateSMS):
    """SMS NOC's server."""

    path_name = "smsnoc"


class SimulatedStandingTech(SimulatedUltimateSMS):
    """StandingTech's server. Its document has no balance and no contact lists."""

    path_name = "standingtech"

    def __init__(self, name: str, state: SimulatorState) -> None:
        super().__init__(name, state)
        del self._commands["balance"], self._commands["sms/campaign"]
