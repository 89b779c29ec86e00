"""AOC Portal's cases, from its document; its numbers, ids and error texts are made up."""

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind
from dispatcher.types import Recipient, RecipientResult, Route, SubmitBatch, SubmitOutcome
from tests.providers.contract import (
    Build,
    Expected,
    Failure,
    Must,
    ProviderCases,
    Submit,
    alike,
    answer,
)

KEY = "not-a-real-key"
BASE = "https://api.aoc-portal.com/v1/sms"
A, B, C = 919810012345, 919810067890, 919899999901
HEADERS = {"apiKey": KEY, "Content-Type": "application/json"}
JOB = "58d63c02-0000-4000-8000-0000000000aa"

DOUBT = Failure(kind=ErrorKind.DOUBTFUL)
NOBODY = Failure(kind=ErrorKind.DOUBTFUL, says="no readable recipients in data")


def sent(*pairs, job=JOB, total=None, **more):
    """The document's answer, for pairs of number and message id."""
    return {
        "id": job,
        "data": [{"recipient": number, "messageId": message_id} for number, message_id in pairs],
        "totalCount": len(pairs) if total is None else total,
        "message": "Message Sent Successfully!",
        "error": None,
    } | more


def error(words, message="", **more):
    return {"id": None, "data": [], "totalCount": 0, "message": message, "error": words} | more


def taken(*pairs, job=JOB):
    return SubmitOutcome(
        results=tuple(
            RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            for msisdn, message_id in pairs
        ),
        job_id=job,
    )


def submit(name, body, means, *, asked=(A, B), covers=None, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    return Submit(name=name, covers=covers, asked=asked, response=response, means=means)


A1, B2 = f"{JOB}:1", f"{JOB}:2"
BOTH = sent((str(A), A1), (str(B), B2))

SUBMIT = (
    submit("one recipient", sent((str(A), A1)), taken((A, A1)), asked=(A,)),
    submit("two recipients", BOTH, taken((A, A1), (B, B2)), covers=Must.ALL_ACCEPTED),
    submit("two recipients, HTTP 201", BOTH, taken((A, A1), (B, B2)), status=201),
    submit(
        "with unicode, and what the flash example puts into data",
        BOTH | {"unicode": 1, "data": [*BOTH["data"], {"flash": 1}, None, "x"]},
        taken((A, A1), (B, B2)),
    ),
    submit(
        "numbers as numbers, with +, without country code",
        sent((A, A1), ("+919810067890", B2), ("9899999901", "x3")),
        taken((A, A1), (B, B2), (C, "x3")),
        asked=(A, B, C),
    ),
    submit(
        "in another order",
        sent((str(B), B2), (str(A), A1)),
        taken((B, B2), (A, A1)),
        covers=Must.REORDERED,
    ),
    submit(
        "one is missing, as the total says",
        sent((str(B), B2)),
        taken((B, B2)),
        covers=Must.MISSING,
    ),
    submit("one is missing, against the total", sent((str(B), B2), total=2), taken((B, B2))),
    submit(
        "a total that is less", sent((str(A), A1), (str(B), B2), total=1), taken((A, A1), (B, B2))
    ),
    submit("all are missing", sent(), NOBODY),
    submit(
        "a number printed as in the document, in the only entry for the only recipient",
        sent(("91XXXXXXXXXX", A1)),
        taken((A, A1)),
        asked=(A,),
    ),
    submit("a number printed as in the document, of two", sent(("91XXXXXXXXX1", A1)), NOBODY),
    submit("no data", sent(data=None, total=2), NOBODY),
    submit(
        "one entry without a list around it",
        sent(data={"recipient": str(A), "messageId": A1}),
        taken((A, A1)),
    ),
    submit("data that is not a list", sent(data="sent"), NOBODY),
    submit(
        "an error that is empty beside recipients is none",
        BOTH | {"error": ""},
        taken((A, A1), (B, B2)),
    ),
    submit("an error that is false", BOTH | {"error": False}, taken((A, A1), (B, B2))),
    submit(
        "the words of the HTTP status beside a known refusal",
        {"statusCode": 400, "message": ["Invalid sender"], "error": "Bad Request"},
        Failure(kind=ErrorKind.CAMPAIGN, says="Invalid sender"),
        status=400,
    ),
    submit(
        "one is there twice",
        sent((str(A), A1), (str(A), "x9"), (str(B), B2)),
        taken((A, A1), (B, B2)),
        covers=Must.DOUBLED,
    ),
    submit(
        "somebody else is there",
        sent((str(C), "x3"), (str(A), A1), (str(B), B2)),
        taken((A, A1), (B, B2)),
        covers=Must.NOT_ASKED,
    ),
    submit(
        "no id of its own, but the request's",
        sent((str(A), ""), (str(B), None)),
        taken((A, None), (B, None)),
    ),
    submit("no id at all", sent((str(A), ""), (str(B), B2), job=None), taken((B, B2), job=None)),
    submit(
        "one id for all is nobody's own",
        sent((str(A), "x7"), (str(B), "x7")),
        taken((A, None), (B, None)),
    ),
    submit(
        "the sender",
        error("Invalid Sender Id"),
        Failure(kind=ErrorKind.CAMPAIGN, says="Invalid Sender Id"),
        covers=Must.ALL_REFUSED,
    ),
    submit(
        "the template, in an object, under 422",
        error({"templateId": ["Invalid template id."]}, message=""),
        Failure(kind=ErrorKind.CAMPAIGN, says="Invalid template id."),
        status=422,
    ),
    submit(
        "a refusal under 400 with no error beside it",
        {"message": "Invalid sender"},
        Failure(kind=ErrorKind.CAMPAIGN, says="Invalid sender", code="400"),
        status=400,
    ),
    submit(
        "success in words, under 400",
        sent(),
        Failure(kind=ErrorKind.DOUBTFUL, says="Message Sent Successfully!"),
        status=400,
    ),
    submit(
        "an error beside recipients",
        sent((str(A), A1), error="Invalid sender", message=""),
        Failure(kind=ErrorKind.DOUBTFUL, says="with ids of messages beside it"),
    ),
    submit("an error without words", error(False), DOUBT),
    submit(
        "the number",
        error("Invalid mobile number"),
        Failure(kind=ErrorKind.RECIPIENTS, says="Invalid mobile number"),
        asked=(A,),
    ),
    submit(
        "a number, of several",
        error("Invalid mobile number"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Invalid mobile number"),
    ),
    submit(
        "an unknown code",
        error({"code": "E777", "message": "Route closed"}),
        Failure(kind=ErrorKind.DOUBTFUL, says="E777; Route closed"),
        covers=Must.UNKNOWN_CODE,
    ),
    submit(
        "the key",
        error("Unauthorized", message="Invalid API Key"),
        Failure(kind=ErrorKind.CREDENTIALS, says="Invalid API Key", hints="IP addresses"),
        status=401,
        covers=Must.CREDENTIALS,
    ),
    submit(
        "the key, under 201",
        error("Unauthorized", message="Invalid API Key"),
        Failure(kind=ErrorKind.CREDENTIALS, says="Invalid API Key", hints="IP addresses"),
        status=201,
    ),
    submit(
        "no credit",
        error("Insufficient balance"),
        Failure(kind=ErrorKind.CREDIT, says="Insufficient balance", hints="top up the account"),
        covers=Must.CREDIT,
    ),
    submit(
        "no credit for some",
        error("Insufficient balance for 1 number"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Insufficient balance for 1 number"),
    ),
    submit("a list", [], DOUBT),
    *alike((A, B), BOTH),
)

TEMPLATE = Route(sender="AOCAPI", template="1507160000000000001")
ROUTE = Route(sender="AOCAPI")


def batch(*recipients, route=ROUTE, kind=Kind.TRANSACTIONAL, **more):
    return SubmitBatch(
        recipients=tuple(Recipient(seq, *each) for seq, each in enumerate(recipients)),
        kind=kind,
        route=route,
        **({"encoding": Encoding.GSM7} | more),
    )


def expected(to, type_="TRANS", path="", **more):
    fields = {"sender": "AOCAPI", "to": to, "type": type_}
    return Expected(url=f"{BASE}{path}", headers=HEADERS, body=fields | more)


BUILD = (
    Build(
        name="one recipient",
        batch=batch((A, "Hello World!")),
        requests=(expected(str(A), text="Hello World!"),),
    ),
    Build(
        name="several recipients of one text",
        batch=batch((A, "Hello World!"), (B, "Hello World!"), kind=Kind.OTP),
        requests=(expected(f"{A},{B}", "OTP", text="Hello World!"),),
    ),
    Build(
        name="personal texts, some of them the same",
        batch=batch((A, "Hi Asha"), (B, "Hi Ben"), (C, "Hi Asha"), kind=Kind.PROMOTIONAL),
        requests=(
            expected(f"{A},{C}", "PROMO", text="Hi Asha"),
            expected(str(B), "PROMO", text="Hi Ben"),
        ),
    ),
    Build(
        name="unicode and flash",
        batch=batch((A, "नमस्ते"), encoding=Encoding.UCS2, flash=True),
        requests=(expected(str(A), text="नमस्ते", unicode=1, flash=1),),
    ),
    Build(
        name="a text with a template",
        batch=batch((A, "Hello World!"), (B, "Hello World!"), route=TEMPLATE),
        requests=(expected(f"{A},{B}", text="Hello World!", templateId=TEMPLATE.template),),
    ),
    Build(
        name="a template with variables",
        batch=batch((A, "", ("Asha", "Pune")), (B, "", ("Asha", "Pune")), route=TEMPLATE),
        requests=tuple(
            expected(
                str(number),
                path="/template",
                templateId=TEMPLATE.template,
                custom=["Asha", "Pune"],
            )
            for number in (A, B)
        ),
    ),
    Build(
        name="a template without variables",
        batch=batch((A, ""), route=TEMPLATE, encoding=Encoding.UCS2),
        requests=(expected(str(A), path="/template", templateId=TEMPLATE.template, custom=[]),),
    ),
)

CASES = ProviderCases(
    settings={"api_key": KEY},
    build=BUILD,
    submit=SUBMIT,
    refuses=lambda words: answer(error(words)),
    not_applicable={
        Must.PARTLY_REFUSED: "the document knows no refusal of a single recipient: "
        "a recipient missing from data is in doubt",
    },
)
