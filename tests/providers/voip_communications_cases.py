"""voip-communications.net's cases, from its document; numbers, ids and error texts are made up.

The document prints one answer to a submission; `sms/summary` is that of real servers.
"""

import base64
from datetime import UTC, datetime
from decimal import Decimal

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind, MessageState
from dispatcher.types import (
    ListedMessage,
    ListPage,
    Recipient,
    RecipientResult,
    Route,
    SubmitBatch,
    SubmitOutcome,
)
from tests.providers.contract import (
    HTML,
    Build,
    Expected,
    Failure,
    Listing,
    Must,
    ProviderCases,
    StatusWords,
    Submit,
    alike,
    answer,
    raw,
)

KEY, PASSWORD = "not-a-real-key", "not a real: password"
SETTINGS = {"api_key": KEY, "api_password": PASSWORD, "schedule_timezone": "America/Chicago"}
BASE = "https://voip-communications.net/api-v2/index.php"
A, B, C = 12812345678, 12812345679, 17134567890
BASIC = base64.b64encode(f"{KEY}:{PASSWORD}".encode()).decode()
HEADERS = {
    "Authorization": f"Basic {BASIC}",
    "Content-Type": "application/x-www-form-urlencoded",
}

DOUBT = Failure(kind=ErrorKind.DOUBTFUL)
NO_ENTRIES = Failure(kind=ErrorKind.DOUBTFUL, says="no readable entries in send_log")


def entry(to, smsid, code=200, desc="", sale=0.01, **more):
    """An entry of `send_log`, as the document prints it."""
    return {
        "code": code,
        "code_desc": desc,
        "from": "17134567890",
        "to": to,
        "country": "US",
        "msg": "It is a SMS message",
        "delivery_date": "2019-10-01 00:00:00",
        "sale": sale,
        "type": "BULKSMS",
        "status": "SCHEDULED",
        "smsid": smsid,
    } | more


def log(*entries, **more):
    return {"send_log": list(entries)} | more


def error(message):
    return {"error": True, "error_message": message}


def taken(msisdn, smsid, cost="0.01"):
    return RecipientResult(
        msisdn=msisdn,
        accepted=True,
        provider_message_id=smsid,
        cost=None if cost is None else Decimal(cost),
    )


def refused(msisdn, code, words):
    return RecipientResult(msisdn=msisdn, accepted=False, error_code=code, error=words)


def unsent(msisdn, code, words):
    return RecipientResult(msisdn=msisdn, accepted=False, unsent=True, error_code=code, error=words)


def unclear(msisdn, code, words):
    return RecipientResult(
        msisdn=msisdn, accepted=False, in_doubt=True, error_code=code, error=words
    )


def outcome(*results, job=None, stopped_by=None):
    return SubmitOutcome(results=results, job_id=job, stopped_by=stopped_by)


def submit(name, body, means, *, asked=(A, B), covers=None, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    return Submit(name=name, covers=covers, asked=asked, response=response, means=means)


ID = "2017559ea27008c6b7122900999"
BAD_NUMBER = {"code": 400, "desc": "Invalid phone number"}

SUBMIT = (
    submit("one recipient", log(entry(str(A), ID)), outcome(taken(A, ID)), asked=(A,)),
    submit(
        "two recipients",
        log(entry(str(A), "s1"), entry(str(B), "s2", sale="0.0075")),
        outcome(taken(A, "s1"), taken(B, "s2", "0.0075")),
        covers=Must.ALL_ACCEPTED,
    ),
    submit(
        "a bare array, codes as text, numbers as numbers and with +",
        [entry(A, "s1", code="200"), entry(f"+{B}", "s2", code="200", sale=None)],
        outcome(taken(A, "s1"), taken(B, "s2", None)),
    ),
    submit(
        "accepted, whatever the status beside it",
        log(entry(str(A), "s1", status="PENDING"), entry(str(B), "s2", status=None)),
        outcome(taken(A, "s1"), taken(B, "s2")),
    ),
    submit(
        "numbers without country code",
        log(entry("2812345678", "s1"), entry("(281) 234-5679", "s2")),
        outcome(taken(A, "s1"), taken(B, "s2")),
    ),
    submit(
        "one accepted, one refused",
        log(entry(str(A), "s1"), entry(str(B), "", **BAD_NUMBER, status="ERROR")),
        outcome(taken(A, "s1"), refused(B, "400", "Invalid phone number")),
        covers=Must.PARTLY_REFUSED,
    ),
    submit(
        "all refused",
        log(entry(str(A), "", **BAD_NUMBER), entry(str(B), 0, code="422", desc="Invalid number.")),
        outcome(
            refused(A, "400", "Invalid phone number"),
            refused(B, "422", "Invalid number."),
        ),
        covers=Must.ALL_REFUSED,
    ),
    submit(
        "all refused in the same words",
        log(entry(str(A), "", **BAD_NUMBER), entry(str(B), "", **BAD_NUMBER)),
        outcome(
            refused(A, "400", "Invalid phone number"), refused(B, "400", "Invalid phone number")
        ),
        status=400,
    ),
    submit(
        "one accepted, then no balance",
        log(entry(str(A), "s1"), entry(str(B), "", code=402, desc="Not enough balance")),
        outcome(
            taken(A, "s1"), unsent(B, "402", "Not enough balance"), stopped_by=ErrorKind.CREDIT
        ),
    ),
    submit(
        "a list with gaps, which PHP makes an object",
        log() | {"send_log": {"0": entry(str(A), "s1"), "2": entry(str(B), "s2")}},
        outcome(taken(A, "s1"), taken(B, "s2")),
    ),
    submit(
        "one entry without a list around it",
        {"send_log": entry(str(A), ID)},
        outcome(taken(A, ID)),
        asked=(A,),
    ),
    submit(
        "no balance for anybody",
        log(
            entry(str(A), "", code=402, desc="Not enough balance"),
            entry(str(B), "", code=402, desc="Not enough balance"),
        ),
        Failure(
            kind=ErrorKind.CREDIT, says="Not enough balance", hints="top up the account", code="402"
        ),
        covers=Must.CREDIT,
    ),
    submit(
        "no balance, and one is missing",
        log(entry(str(A), "", code=402, desc="Not enough balance")),
        outcome(unsent(A, "402", "Not enough balance"), stopped_by=ErrorKind.CREDIT),
    ),
    submit(
        "no balance, without a log",
        error("Insufficient balance"),
        Failure(kind=ErrorKind.CREDIT, says="Insufficient balance"),
        status=400,
    ),
    submit(
        "no balance for some, without a log",
        error("Insufficient balance for 1 number"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Insufficient balance for 1 number"),
    ),
    submit(
        "an unknown code for all",
        log(*(entry(str(n), "", code=777, desc="Carrier window") for n in (A, B))),
        Failure(kind=ErrorKind.DOUBTFUL, says="Carrier window", code="777"),
        covers=Must.UNKNOWN_CODE,
    ),
    submit(
        "an unknown code for one",
        log(entry(str(A), "s1"), entry(str(B), "", code=777, desc=f"Carrier window of {B}")),
        outcome(taken(A, "s1"), unclear(B, "777", "Carrier window of 12••••79")),
    ),
    submit(
        "an unknown code without words",
        log(entry(str(A), "s1"), entry(str(B), "", code=500)),
        outcome(taken(A, "s1"), unclear(B, "500", "the provider refused and gave no reason")),
    ),
    submit(
        "a known refusal beside an id",
        log(entry(str(A), "s1"), entry(str(B), "s2", **BAD_NUMBER)),
        outcome(
            taken(A, "s1"),
            unclear(
                B,
                "400",
                "the provider refused, with ids of messages beside it: Invalid phone number",
            ),
        ),
    ),
    submit(
        "code 200 without an id, code 200 with a refusal, no code",
        log(
            entry(str(A), ""),
            entry(str(B), None, desc="Invalid phone number"),
            entry(str(C), "", code=None, desc="Invalid phone number"),
        ),
        outcome(
            unclear(A, "200", "the provider refused and gave no reason"),
            unclear(B, "200", "Invalid phone number"),
            unclear(C, "200", "Invalid phone number"),
        ),
        asked=(A, B, C),
    ),
    submit(
        "codes that are none",
        log(entry(str(A), "s1", code=True), entry(str(B), "s2", code=200.0)),
        DOUBT,
    ),
    submit(
        "one is missing",
        log(entry(str(B), "s2")),
        outcome(taken(B, "s2")),
        covers=Must.MISSING,
    ),
    submit("all are missing", log(), NO_ENTRIES),
    submit(
        "no number, in the only entry for the only recipient",
        log(entry(None, ID)),
        outcome(taken(A, ID)),
        asked=(A,),
    ),
    submit("all are missing from a bare array", [], NO_ENTRIES),
    submit(
        "one is there twice",
        log(entry(str(A), "s1"), entry(str(A), "s9"), entry(str(B), "s2")),
        outcome(taken(A, "s1"), taken(B, "s2")),
        covers=Must.DOUBLED,
    ),
    submit(
        "one is there twice, refused and accepted",
        log(entry(str(A), "", **BAD_NUMBER), entry(str(A), "s1"), entry(str(A), "", code=777)),
        outcome(taken(A, "s1")),
    ),
    submit(
        "one is there twice, refused and unclear",
        log(entry(str(A), "", **BAD_NUMBER), entry(str(A), "", code=777, desc="Who knows")),
        outcome(unclear(A, "777", "Who knows")),
    ),
    submit(
        "in another order",
        log(entry(str(B), "s2"), entry(str(A), "s1")),
        outcome(taken(B, "s2"), taken(A, "s1")),
        covers=Must.REORDERED,
    ),
    submit(
        "somebody else is there",
        log(entry(str(C), "s3"), entry(str(A), "s1"), entry(str(B), "s2")),
        outcome(taken(A, "s1"), taken(B, "s2")),
        covers=Must.NOT_ASKED,
    ),
    submit(
        "one id for all is the request's",
        log(entry(str(A), ID), entry(str(B), ID)),
        outcome(taken(A, None), taken(B, None), job=ID),
    ),
    submit("entries that are none", log(None, "x", [], {}, {"to": "nobody"}), NO_ENTRIES),
    submit(
        "credentials, as documented",
        raw(b"Invalid api credentials", 401, content_type="text/html"),
        Failure(kind=ErrorKind.CREDENTIALS, says="HTTP 401", hints="IP addresses", code="401"),
        covers=Must.CREDENTIALS,
    ),
    submit(
        "credentials, in JSON",
        error("Invalid api credentials"),
        Failure(kind=ErrorKind.CREDENTIALS, says="Invalid api credentials"),
        status=401,
    ),
    submit(
        "credentials, under 200",
        error("Invalid API credentials."),
        Failure(kind=ErrorKind.CREDENTIALS, says="Invalid API credentials."),
    ),
    submit(
        "a number refused as a whole request",
        error("Invalid phone number"),
        Failure(kind=ErrorKind.RECIPIENTS, says="Invalid phone number"),
        asked=(A,),
        status=400,
    ),
    submit(
        "some number refused, as a whole request",
        error("Invalid phone number"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Invalid phone number"),
        status=400,
    ),
    submit(
        "an unknown refusal",
        error("The from number is not SMS enabled"),
        Failure(kind=ErrorKind.DOUBTFUL, says="The from number is not SMS enabled"),
        status=403,
    ),
    submit("no log", {"send_log": None}, Failure(kind=ErrorKind.DOUBTFUL, says="send_log")),
    submit("text", raw(b'"sent"'), DOUBT),
    *alike((A, B), log(entry(str(A), "s1"), entry(str(B), "s2"))),
)


def summed(number, sms_id, status="DELIVERED", **more):
    """An entry of `sms/summary`, as a public client reads it."""
    return {
        "sms_id": sms_id,
        "sms_external": number,
        "sms_country": "US",
        "sms_status": status,
        "sms_status_date": "2026-07-01 09:30:00",
        "sms_msg": "It is a SMS message",
        "sms_sale": "0.0100",
    } | more


def found(number, sms_id, state, raw_word, **more):
    fields = {
        "text": "It is a SMS message",
        "created_at": datetime(2026, 7, 1, 14, 30, tzinfo=UTC),
        "cost": Decimal("0.0100"),
    }
    return ListedMessage(
        provider_message_id=sms_id,
        msisdn=number,
        sender=None,
        state=state,
        raw=raw_word,
        **(fields | more),
    )


def listing(name, body, means, *, page=0, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    return Listing(name=name, page=page, response=response, means=means)


SUBMITTED, DELIVERED = MessageState.SUBMITTED, MessageState.DELIVERED

LISTINGS = (
    listing(
        "a page of two",
        {"summary": [summed(str(A), ID), summed(B, 7, "SCHEDULED")]},
        ListPage(
            entries=(
                found(A, ID, DELIVERED, "DELIVERED"),
                found(B, "7", SUBMITTED, "SCHEDULED"),
            ),
            next_page=1,
        ),
    ),
    listing(
        "a later page, an error that is none, a bare array",
        [summed(str(A), ID)],
        ListPage(entries=(found(A, ID, DELIVERED, "DELIVERED"),), next_page=6),
        page=5,
    ),
    listing(
        "an error that is none",
        {"error": False, "error_message": "", "summary": [summed(str(A), ID)]},
        ListPage(entries=(found(A, ID, DELIVERED, "DELIVERED"),), next_page=1),
    ),
    listing(
        "dates and prices that are none",
        {
            "summary": [
                summed(str(A), "1", sms_status_date="0000-00-00 00:00:00", sms_sale=""),
                summed(str(B), "2", sms_status_date=None, sms_sale=0.5, sms_msg=None),
            ]
        },
        ListPage(
            entries=(
                found(A, "1", DELIVERED, "DELIVERED", created_at=None, cost=None),
                found(
                    B,
                    "2",
                    DELIVERED,
                    "DELIVERED",
                    created_at=None,
                    cost=Decimal("0.5"),
                    text=None,
                ),
            ),
            next_page=1,
        ),
    ),
    listing(
        "what came in, and what cannot be anybody's, still has a next page",
        {
            "summary": [
                summed(str(A), "1", "RECEIVED"),
                summed(str(A), "2", "Inbound"),
                summed("SHOP", "3"),
                summed(str(A), ""),
                None,
            ]
        },
        ListPage(entries=(), next_page=1),
    ),
    listing(
        "a number in a field of another name leaves it to the id",
        {"summary": [{k: v for k, v in summed("", "4").items() if k != "sms_external"}]},
        ListPage(entries=(found(None, "4", DELIVERED, "DELIVERED"),), next_page=1),
    ),
    listing("an empty page is the end", {"summary": []}, ListPage(entries=(), next_page=None)),
    listing(
        "no summary at this account",
        raw(HTML.body, 404),
        Failure(
            kind=ErrorKind.CONFIGURATION,
            says=f"HTTP 404 from {BASE}/sms/summary: this account has no list",
            hints="end as submitted, without a receipt",
            code="404",
        ),
    ),
    listing(
        "credentials",
        error("Invalid api credentials"),
        Failure(kind=ErrorKind.CREDENTIALS, says="Invalid api credentials"),
    ),
    listing(
        "an error beside an empty page",
        error("Try again") | {"summary": []},
        Failure(kind=ErrorKind.DOUBTFUL, says="Try again"),
    ),
    listing("an error without words", {"error": True, "summary": []}, DOUBT),
    listing("no list", {"summary": "none"}, Failure(kind=ErrorKind.DOUBTFUL, says="summary")),
    listing("HTML", HTML, DOUBT),
    listing("the server failed", {"summary": []}, DOUBT, status=500),
    listing(
        "too many requests",
        raw(b"", 429, retry_after="7"),
        Failure(kind=ErrorKind.THROTTLED, retry_after_s=7.0),
    ),
)


ROUTE = Route(sender="")


def batch(*recipients, route=ROUTE, **more):
    return SubmitBatch(
        recipients=tuple(Recipient(seq, *pair) for seq, pair in enumerate(recipients)),
        encoding=Encoding.GSM7,
        kind=Kind.TRANSACTIONAL,
        route=route,
        **more,
    )


def sent(to, msg, **more):
    return Expected(url=f"{BASE}/sms/send", headers=HEADERS, body={"to": to, "msg": msg} | more)


BUILD = (
    Build(
        name="one recipient, BULK",
        batch=batch((A, "It is a SMS message")),
        requests=(sent(str(A), "It is a SMS message"),),
    ),
    Build(
        name="several recipients of one text, from a number",
        batch=batch(
            (A, "50% & more = नमस्ते +1"),
            (B, "50% & more = नमस्ते +1"),
            route=Route(sender="17134567890"),
        ),
        requests=(sent(f"{A},{B}", "50% & more = नमस्ते +1", **{"from": "17134567890"}),),
    ),
    Build(
        name="personal texts, some of them the same",
        batch=batch((A, "Hi Asha"), (B, "Hi Ben"), (C, "Hi Asha")),
        requests=(sent(f"{A},{C}", "Hi Asha"), sent(str(B), "Hi Ben")),
    ),
    Build(
        name="later",
        batch=batch((A, "Hi"), schedule_at=datetime(2026, 7, 1, 14, 29, 30, tzinfo=UTC)),
        requests=(sent(str(A), "Hi", delivery_date="2026-07-01 09:30"),),
    ),
)

CASES = ProviderCases(
    settings=SETTINGS,
    build=BUILD,
    submit=SUBMIT,
    refuses=lambda words: answer(error(words)),
    status_words=StatusWords(
        answer=lambda word: answer({"summary": [summed(str(A), ID, word)]}),
        words={
            "SCHEDULED": (SUBMITTED, False),
            "SENT": (SUBMITTED, False),
            "Delivered": (DELIVERED, False),
            "UNDELIVERED": (MessageState.UNDELIVERED, False),
            "FAILED": (MessageState.UNDELIVERED, True),
            "REJECTED": (MessageState.UNDELIVERED, True),
            "EXPIRED": (MessageState.EXPIRED, True),
            "OUTBOUND": (SUBMITTED, False),
        },
    ),
    lists_accepted=LISTINGS,
)
