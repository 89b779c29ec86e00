"""TheSMSPoint's cases, from its document; the printed JSON is repaired, numbers are made up."""

import json
from decimal import Decimal

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind, MessageState
from dispatcher.types import (
    Balance,
    DeliveryReport,
    PollRef,
    PollTarget,
    Recipient,
    RecipientResult,
    Route,
    SenderId,
    SubmitBatch,
    SubmitOutcome,
    Template,
)
from tests.providers.contract import (
    HTML,
    Build,
    Expected,
    Failure,
    Must,
    Poll,
    ProviderCases,
    Read,
    StatusWords,
    Submit,
    alike,
    answer,
    raw,
)

KEY = "not-a-real-key-1"
BASE = "https://thesmspoint.com/api/v1"
A, B, C = 919810012345, 919810067890, 919899999901
HEADERS = {"key": KEY, "Accept": "application/json", "Content-Type": "application/json"}
ROUTE = Route(sender="SENDER", template="welcome", sender_ref="41", template_ref="1107000000001")

NO_KEY = {"status": "error", "message": "API Key Does Not Exists"}
NOT_ALLOWED = {"status": "error", "message": "Request Type Not Allowed"}
NO_CREDIT = {"status": "error", "message": "SMS Credits Not Available", "data": None}
NO_JOB = {"status": "error", "message": "Invalid Message ID", "data": None}
NO_KEY_MEANS = Failure(
    kind=ErrorKind.CREDENTIALS, says="API Key Does Not Exists", hints="IP addresses"
)
NOT_ALLOWED_MEANS = Failure(kind=ErrorKind.CONFIGURATION, says="Request Type Not Allowed")
DOUBT = Failure(kind=ErrorKind.DOUBTFUL)


def long(*entries, job="774411", code="000", **changes):
    """The document's long answer to a submission."""
    data = {
        "ErrorCode": code,
        "ErrorMessage": "Success",
        "JobId": job,
        "MessageData": [
            {"Number": number, "message_id": message_id, "message": "message to be sent"}
            for number, message_id in entries
        ],
    }
    return {
        "status": "success",
        "message": "SMS Sent Successfully",
        "data": data,
        "code": 200,
    } | changes


def accepted(*pairs, job="774411"):
    return SubmitOutcome(
        results=tuple(
            RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            for msisdn, message_id in pairs
        ),
        job_id=job,
    )


SHORT = {
    "status": "success",
    "message": "SMS Sent Successfully",
    "data": {"status": "success", "message_id": "12345"},
}


def submit(name, body, means, *, asked=(A, B), covers=None, status=200):
    response = body if not isinstance(body, dict | list) else answer(body, status)
    return Submit(name=name, covers=covers, asked=asked, response=response, means=means)


SUBMIT = (
    submit(
        "one recipient, long answer",
        long((str(A), "12345")),
        accepted((A, "12345")),
        asked=(A,),
    ),
    submit(
        "two recipients, long answer",
        long((str(A), "12345"), (str(B), "675676")),
        accepted((A, "12345"), (B, "675676")),
        covers=Must.ALL_ACCEPTED,
    ),
    submit(
        "a list with gaps, which PHP makes an object",
        long()
        | {
            "data": {
                "ErrorCode": 0,
                "JobId": 5,
                "MessageData": {
                    "0": {"Number": str(A), "message_id": 1},
                    "2": {"Number": str(B), "message_id": 2},
                },
            }
        },
        accepted((A, "1"), (B, "2"), job="5"),
    ),
    submit(
        "one entry without a list around it",
        long()
        | {
            "data": {
                "ErrorCode": "000",
                "JobId": "5",
                "MessageData": {"Number": str(A), "message_id": "1"},
            }
        },
        accepted((A, "1"), job="5"),
        asked=(A,),
    ),
    submit(
        "short answer without a status of its own",
        SHORT | {"data": {"message_id": "12345"}},
        accepted((A, None), (B, None), job="12345"),
    ),
    submit(
        "the text comes back in another charset than it says",
        raw(
            json.dumps(long((str(A), "1"), (str(B), "2")))
            .replace("be sent", "b\xe9 sent")
            .encode("latin-1")
        ),
        accepted((A, "1"), (B, "2")),
    ),
    submit("two recipients, short answer", SHORT, accepted((A, None), (B, None), job="12345")),
    submit("one recipient, short answer", SHORT, accepted((A, None), job="12345"), asked=(A,)),
    submit(
        "status in capitals, code as text, ids as numbers",
        long((A, 12345), (B, 675676), job=774411, status="SUCCESS", code="000"),
        accepted((A, "12345"), (B, "675676")),
    ),
    submit(
        "numbers without country code",
        long(("9810012345", "1"), ("09810067890", "2")),
        accepted((A, "1"), (B, "2")),
    ),
    submit(
        "in another order",
        long((str(B), "2"), (str(A), "1")),
        accepted((B, "2"), (A, "1")),
        covers=Must.REORDERED,
    ),
    submit("one is missing", long((str(B), "2")), accepted((B, "2")), covers=Must.MISSING),
    submit("all are missing, with a job", long(), SubmitOutcome(results=(), job_id="774411")),
    submit("all are missing, without a job", long(job=""), DOUBT),
    submit("a job alone", long() | {"data": {"JobId": "774411"}}, accepted()),
    submit(
        "one is there twice",
        long((str(A), "1"), (str(A), "9"), (str(B), "2")),
        accepted((A, "1"), (B, "2")),
        covers=Must.DOUBLED,
    ),
    submit(
        "somebody else is there",
        long((str(C), "3"), (str(A), "1"), (str(B), "2")),
        accepted((A, "1"), (B, "2")),
        covers=Must.NOT_ASKED,
    ),
    submit(
        "an unreadable number",
        long(("xxxxxxxx", "1"), (None, "2"), (str(B), "3")),
        accepted((B, "3")),
    ),
    submit(
        "a number printed as in the document, in the only entry for the only recipient",
        long(("xxxxxxxx", "1")),
        accepted((A, "1")),
        asked=(A,),
    ),
    submit("somebody else's, in the only entry", long((str(C), "3")), accepted(), asked=(A,)),
    submit(
        "no id of its own, but a job's",
        long((str(A), ""), (str(B), None)),
        accepted((A, None), (B, None)),
    ),
    submit(
        "no id of its own, and no job",
        long((str(A), ""), (str(B), "2"), job=None),
        accepted((B, "2"), job=None),
    ),
    submit(
        "one id for all is nobody's own",
        long((str(A), "7"), (str(B), "7")),
        accepted((A, None), (B, None)),
    ),
    submit(
        "without a job the only message's id stands for it",
        long((str(A), "12345"), job=None),
        accepted((A, "12345"), job="12345"),
        asked=(A,),
    ),
    submit("API key", NO_KEY, NO_KEY_MEANS, covers=Must.CREDENTIALS),
    submit("API key, status failure", NO_KEY | {"status": "Failure"}, NO_KEY_MEANS),
    submit("API key, HTTP 403", NO_KEY, NO_KEY_MEANS, status=403),
    submit("API key, HTTP 401", NO_KEY, NO_KEY_MEANS, status=401),
    submit("API key in `errors`", {"status": "error", "errors": NO_KEY["message"]}, NO_KEY_MEANS),
    submit(
        "API key in a list of `errors`",
        {"status": "error", "message": "", "errors": ["api key does not exists."]},
        Failure(kind=ErrorKind.CREDENTIALS, says="api key does not exists", hints="IP addresses"),
    ),
    submit(
        "API key in an object of `errors`",
        {"status": "error", "message": "error", "errors": {"key": [NO_KEY["message"]]}},
        NO_KEY_MEANS,
    ),
    submit("request type", NOT_ALLOWED, NOT_ALLOWED_MEANS, covers=Must.ALL_REFUSED),
    submit(
        "no credit",
        NO_CREDIT,
        Failure(kind=ErrorKind.CREDIT, says="SMS Credits Not Available", hints="top up"),
        covers=Must.CREDIT,
    ),
    submit("no credit, HTTP 422", NO_CREDIT, Failure(kind=ErrorKind.CREDIT), status=422),
    submit(
        "no credit, as an error code",
        long(job=None)
        | {"message": "", "data": {"ErrorCode": "021", "ErrorMessage": NO_CREDIT["message"]}},
        Failure(kind=ErrorKind.CREDIT, code="021"),
    ),
    submit(
        "no credit, but ids",
        long((str(A), "1"), status="error", message=NO_CREDIT["message"]),
        Failure(kind=ErrorKind.DOUBTFUL, says="with ids of messages beside it"),
    ),
    submit(
        "no credit for some",
        NO_CREDIT | {"message": "SMS Credits Not Available for 1 number"},
        Failure(kind=ErrorKind.DOUBTFUL, says="SMS Credits Not Available for 1 number"),
    ),
    submit(
        "an unknown error code",
        {"status": "success", "data": {"ErrorCode": "777", "ErrorMessage": "Route closed"}},
        Failure(kind=ErrorKind.DOUBTFUL, says="Route closed", code="777"),
        covers=Must.UNKNOWN_CODE,
    ),
    submit("an unknown error code, but ids", long((str(A), "1"), code="777"), DOUBT),
    submit(
        "an unknown refusal",
        {"status": "error", "message": "Invalid Template", "code": 400},
        Failure(kind=ErrorKind.DOUBTFUL, says="Invalid Template", code="400"),
    ),
    submit("a refusal without words", {"status": "failure"}, DOUBT, status=422),
    submit("a job it does not know", NO_JOB, DOUBT),
    submit("no status", {"data": SHORT["data"]}, DOUBT),
    submit("an unknown status", SHORT | {"status": "queued"}, DOUBT),
    submit("an unknown inner status", SHORT | {"data": {"status": "x", "message_id": ""}}, DOUBT),
    submit(
        "an inner failure keeps the handle and accepts nobody",
        SHORT | {"data": {"status": "error", "message_id": "12345"}},
        accepted(job="12345"),
    ),
    submit(
        "success without any id",
        {"status": "success", "message": "SMS Sent Successfully", "data": None},
        Failure(kind=ErrorKind.DOUBTFUL, says="no readable message ids"),
    ),
    submit("success with an id of zero", SHORT | {"data": {"message_id": 0}}, DOUBT),
    submit("success with a list", SHORT | {"data": [{"message_id": "1"}]}, DOUBT),
    submit("a list", [], DOUBT),
    *alike((A, B), long((str(A), "1"), (str(B), "2"))),
)

REF = PollRef(
    job_id="774411",
    targets=(
        PollTarget(msisdn=A, provider_message_id="m1"),
        PollTarget(msisdn=B, provider_message_id="m2"),
    ),
)
REF_SHORT = PollRef(
    job_id="12345", targets=tuple(PollTarget(msisdn=n, provider_message_id=None) for n in (A, B))
)


def status(word, number=None, message_id=None, field="mobile_number"):
    """An entry of the document's list of statuses."""
    entry = {"status_name": word, field: number, "content": "This is message"}
    return entry | {"message_id": message_id}


def statuses(*entries, **changes):
    """The document's successful answer, which says "error"."""
    return {"status": "error", "job_id": "774411", "data": list(entries), "code": "200"} | changes


def single(word, remark="", number="9810012345"):
    """The document's other successful answer."""
    data = {
        "status": "success",
        "recipient": number,
        "sender_id": "SENDER",
        "content": "This is message",
        "delivery_status_id": word,
        "delivery_status_remark": remark,
    }
    return {"status": "success", "message": None, "data": data}


def reported(msisdn, state, word, message_id=None, **more):
    return DeliveryReport(
        msisdn=msisdn, state=state, raw=word, provider_message_id=message_id, **more
    )


DELIVERED, UNDELIVERED = MessageState.DELIVERED, MessageState.UNDELIVERED


def poll(name, body, *means, ref=REF, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    failure = means[0] if means and isinstance(means[0], Failure) else None
    return Poll(name=name, ref=ref, response=response, means=failure or means)


POLL = (
    poll(
        "a list that says error, numbers in either field",
        statuses(
            status("delivered", str(A), "m1"),
            status("UnDelivered", str(B), "m2", field="recipient"),
        ),
        reported(A, DELIVERED, "delivered", "m1"),
        reported(B, UNDELIVERED, "UnDelivered", "m2"),
    ),
    poll(
        "numbers without country code",
        statuses(status("Delivered", "9810067890"), status("U", 9810012345)),
        reported(B, DELIVERED, "Delivered"),
        reported(A, UNDELIVERED, "U"),
        ref=REF_SHORT,
    ),
    poll(
        "ids alone",
        statuses(status("Delivered", "98xxxxxx90", "m2")),
        reported(B, DELIVERED, "Delivered", "m2"),
    ),
    poll(
        "a number and an id that contradict each other",
        statuses(status("Delivered", str(A), "m2")),
    ),
    poll("somebody else", statuses(status("Delivered", str(C), "m9"))),
    poll(
        "one is there twice",
        statuses(status("Sent", str(A), "m1"), status("Delivered", str(A), "m1")),
        reported(A, DELIVERED, "Delivered", "m1"),
    ),
    poll(
        "a single object",
        single("Delivered"),
        reported(A, DELIVERED, "Delivered", "m1"),
    ),
    poll(
        "a single object with a remark",
        single("UnDelivered", "Absent subscriber", number=str(B)),
        reported(B, UNDELIVERED, "UnDelivered", "m2", error_code="Absent subscriber"),
    ),
    poll(
        "a list with gaps, which PHP makes an object",
        statuses() | {"data": {"1": status("Delivered", str(A)), "7": status("U", str(B), "m2")}},
        reported(A, DELIVERED, "Delivered", "m1"),
        reported(B, UNDELIVERED, "U", "m2"),
    ),
    poll(
        "a number printed as in the document, of the only message",
        single("Delivered", number="xxxxxxxxxx"),
        reported(A, DELIVERED, "Delivered"),
        ref=PollRef(job_id="5", targets=REF_SHORT.targets[:1]),
    ),
    poll("a number printed as in the document, of two", single("Delivered", number="xxxxxxxxxx")),
    poll("no status in the entry", statuses({"mobile_number": str(A), "message_id": "m1"})),
    poll("entries that are none", statuses(None, "x", [], 5)),
    poll("success without data", {"status": "success", "message": "", "data": []}),
    poll(
        "a job it does not know", NO_JOB, Failure(kind=ErrorKind.DOUBTFUL, says=NO_JOB["message"])
    ),
    poll("API key", NO_KEY, NO_KEY_MEANS),
    poll("request type", NOT_ALLOWED, NOT_ALLOWED_MEANS),
    poll("HTML", HTML, DOUBT),
    poll(
        "too many requests",
        raw(b"", 429, retry_after="7"),
        Failure(kind=ErrorKind.THROTTLED, retry_after_s=7.0),
    ),
    poll("the server failed", statuses(status("Delivered", str(A))), DOUBT, status=500),
)

BALANCE = (
    Read(
        name="three packages",
        response=answer(
            {
                "status": "success",
                "message": "",
                "data": {"balance": {"OTP": 0, "Promotional": "1500", "Transactional": 12.5}},
            }
        ),
        means=(
            Balance(package="OTP", amount=Decimal(0)),
            Balance(package="Promotional", amount=Decimal(1500)),
            Balance(package="Transactional", amount=Decimal("12.5")),
        ),
    ),
    Read(name="API key", response=answer(NO_KEY), means=NO_KEY_MEANS),
    Read(name="request type", response=answer(NOT_ALLOWED), means=NOT_ALLOWED_MEANS),
    Read(name="no packages", response=answer(SHORT), means=DOUBT),
    Read(
        name="not a number",
        response=answer({"status": "success", "data": {"balance": {"OTP": "many"}}}),
        means=Failure(kind=ErrorKind.DOUBTFUL, says="no readable balance"),
    ),
    Read(name="HTML", response=HTML, means=DOUBT),
)


def listed(*entries):
    return answer({"status": "success", "message": "", "data": list(entries)})


SENDER = {
    "id": 41,
    "entity_id": "1101000000009",
    "type_value": "Transactional",
    "sender_id": "SENDER",
    "purpose_value": "Service",
    "approve_status": "Approved",
}
TEMPLATE = {
    "id": "7",
    "name": "welcome",
    "template_id": "1107000000001",
    "type": "OTP",
    "sender_id": "SENDER",
    "message": "Welcome, {#var#}!\nYours",
    "template_status": "Pending",
}

SENDERS = (
    Read(
        name="approved, pending, and of no known type",
        response=listed(
            SENDER,
            SENDER | {"id": "42", "type_value": "", "approve_status": "PENDING"},
            SENDER | {"id": "43", "type_value": "Bulk", "purpose_value": None},
        ),
        means=(
            SenderId(
                ref="41",
                name="SENDER",
                kind=Kind.TRANSACTIONAL,
                approved=True,
                status="Approved",
                purpose="Service",
            ),
            SenderId(
                ref="42",
                name="SENDER",
                kind=None,
                approved=False,
                status="PENDING",
                purpose="Service",
            ),
            SenderId(ref="43", name="SENDER", kind=None, approved=True, status="Approved"),
        ),
    ),
    Read(name="without ids, as printed", response=listed(dict.fromkeys(SENDER, "")), means=()),
    Read(name="none", response=answer({"status": "success", "data": None}), means=()),
    Read(name="not a list", response=answer(SHORT), means=DOUBT),
    Read(name="API key", response=answer(NO_KEY), means=NO_KEY_MEANS),
    Read(name="request type", response=answer(NOT_ALLOWED), means=NOT_ALLOWED_MEANS),
)

TEMPLATES = (
    Read(
        name="pending, approved",
        response=listed(
            TEMPLATE,
            TEMPLATE
            | {"template_id": 1107000000002, "template_status": "approved", "sender_id": None},
        ),
        means=(
            Template(
                ref="1107000000001",
                name="welcome",
                text="Welcome, {#var#}!\nYours",
                kind=Kind.OTP,
                approved=False,
                status="Pending",
                sender="SENDER",
                id="7",
            ),
            Template(
                ref="1107000000002",
                name="welcome",
                text="Welcome, {#var#}!\nYours",
                kind=Kind.OTP,
                approved=True,
                status="approved",
                id="7",
            ),
        ),
    ),
    Read(name="without ids, as printed", response=listed(dict.fromkeys(TEMPLATE, "")), means=()),
    Read(name="API key", response=answer(NO_KEY), means=NO_KEY_MEANS),
    Read(name="request type", response=answer(NOT_ALLOWED), means=NOT_ALLOWED_MEANS),
)

BUILD = (
    Build(
        name="one recipient",
        batch=SubmitBatch(
            recipients=(Recipient(0, A, "This is Message"),),
            encoding=Encoding.GSM7,
            kind=Kind.TRANSACTIONAL,
            route=ROUTE,
        ),
        requests=(
            Expected(
                url=f"{BASE}/send-single-sms",
                headers=HEADERS,
                body={
                    "recipient": str(A),
                    "message": "This is Message",
                    "sender_id": "41",
                    "template_id": "1107000000001",
                    "channel": 1,
                    "is_unicode": 0,
                },
            ),
        ),
    ),
    Build(
        name="two recipients, each with a text, in unicode",
        batch=SubmitBatch(
            recipients=(Recipient(0, A, 'नमस्ते "Asha"'), Recipient(1, B, "नमस्ते\\Ben")),
            encoding=Encoding.UCS2,
            kind=Kind.OTP,
            route=ROUTE,
        ),
        requests=(
            Expected(
                url=f"{BASE}/send-bulk-sms",
                headers=HEADERS,
                body={
                    "recipient": f'[{{"number":"{A}","text":"नमस्ते \\"Asha\\""}},'
                    f'{{"number":"{B}","text":"नमस्ते\\\\Ben"}}]',
                    "sender_id": "41",
                    "template_id": "1107000000001",
                    "channel": 3,
                    "is_unicode": 1,
                },
            ),
        ),
    ),
)

CASES = ProviderCases(
    settings={"api_key": KEY},
    build=BUILD,
    submit=SUBMIT,
    refuses=lambda words: answer({"status": "error", "message": words}),
    not_applicable={
        Must.PARTLY_REFUSED: "the document knows no refusal of a single recipient: "
        "a recipient missing from MessageData is in doubt",
    },
    poll=POLL,
    status_words=StatusWords(
        ref=REF,
        answer=lambda word: answer(statuses(status(word, str(A), "m1"))),
        words={
            "Sent": (MessageState.SUBMITTED, False),
            "Delivered": (DELIVERED, False),
            "delivered": (DELIVERED, False),
            "UnDelivered": (UNDELIVERED, False),
            "Un Delivered": (UNDELIVERED, False),
            "U": (UNDELIVERED, False),
            "Expired": (MessageState.EXPIRED, True),
            "EXPIRED": (MessageState.EXPIRED, True),
        },
    ),
    balance=BALANCE,
    senders=SENDERS,
    templates=TEMPLATES,
)
