"""The cases of every Ultimate SMS server; numbers, ids and error texts are made up.

The documents print `status`, `message` and "sms reports with all details": the shapes of `data` are
those of real servers.
"""

from datetime import UTC, datetime
from decimal import Decimal

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind, MessageState
from dispatcher.types import (
    Balance,
    DeliveryReport,
    ListedMessage,
    ListPage,
    PollRef,
    PollTarget,
    Recipient,
    RecipientResult,
    Route,
    SubmitBatch,
    SubmitOutcome,
)
from tests.providers.contract import (
    HTML,
    Build,
    ContactList,
    Expected,
    Failure,
    Listing,
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

TOKEN = "7|not-a-real-token"
SETTINGS = {"api_token": TOKEN, "schedule_timezone": "Asia/Dhaka"}
A, B, C = 8801712345678, 8801812345679, 919810012345
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Accept": "application/json",
    "Content-Type": "application/json",
}
ROUTE = Route(sender="YourName")

DOUBT = Failure(kind=ErrorKind.DOUBTFUL)
NOBODY = Failure(kind=ErrorKind.DOUBTFUL, says="no readable report of any recipient")
NO_TOKEN = {"status": "error", "message": "Unauthenticated."}
NO_TOKEN_MEANS = Failure(
    kind=ErrorKind.CREDENTIALS, says="Unauthenticated.", hints="check the account's key"
)
NO_CREDIT = {"status": "error", "message": "Not enough balance"}


def one(to, uid, status="Enroute", field="customer_status", cost="1", **more):
    """A report about a message, as real servers write it."""
    return {
        "uid": uid,
        "to": to,
        "from": "YourName",
        "message": "This is a test message",
        field: status,
        "cost": cost,
        "sms_count": 1,
    } | more


def success(data="sms reports with all details", **more):
    return {"status": "success", "data": data} | more


def error(message, **more):
    return {"status": "error", "message": message} | more


def taken(msisdn, uid, cost="1"):
    return RecipientResult(
        msisdn=msisdn,
        accepted=True,
        provider_message_id=uid,
        cost=None if cost is None else Decimal(cost),
    )


def refused(msisdn, uid, word, reason=None):
    return RecipientResult(
        msisdn=msisdn,
        accepted=False,
        provider_message_id=uid,
        error_code=word,
        error=f"{word}: {reason}" if reason else word,
    )


def outcome(*results):
    return SubmitOutcome(results=results)


def submit(name, body, means, *, asked=(A, B), covers=None, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    return Submit(name=name, covers=covers, asked=asked, response=response, means=means)


BOTH = [one(str(A), "6a1"), one(str(B), "6b2")]

SUBMIT = (
    submit(
        "one recipient: an object",
        success(one(str(A), "6f9681630aa8b", "Delivered", field="status", cost="0.35")),
        outcome(taken(A, "6f9681630aa8b", "0.35")),
        asked=(A,),
    ),
    submit(
        "two recipients: a list",
        success(BOTH),
        outcome(taken(A, "6a1"), taken(B, "6b2")),
        covers=Must.ALL_ACCEPTED,
    ),
    submit(
        "statuses in either field, prices of either type, with 201",
        success([one(A, "6a1", field="status", cost=0.5), one(f"+{B}", "6b2", cost=None)]),
        outcome(taken(A, "6a1", "0.5"), taken(B, "6b2", None)),
        status=201,
    ),
    submit(
        "one object for one recipient, without its number",
        success({"uid": "6a1"}),
        outcome(taken(A, "6a1", None)),
        asked=(A,),
    ),
    submit("one object for two recipients, not named", success({"uid": "6a1"}), NOBODY),
    submit(
        "two objects for one recipient, not named",
        success([{"uid": "6a1"}, {"uid": "6b2"}]),
        NOBODY,
        asked=(A,),
    ),
    submit(
        "some refused",
        success([one(str(A), "6a1"), one(str(B), "6b2", "Rejected|Blacklisted number")]),
        outcome(taken(A, "6a1"), refused(B, "6b2", "Rejected", "Blacklisted number")),
        covers=Must.PARTLY_REFUSED,
    ),
    submit(
        "all refused",
        success([one(str(A), "6a1", "Skipped"), one(str(B), None, "REJECTED")]),
        outcome(refused(A, "6a1", "Skipped"), refused(B, None, "REJECTED")),
        covers=Must.ALL_REFUSED,
    ),
    submit(
        "a failure has been attempted",
        success([one(str(A), "6a1", "Failed"), one(str(B), "6b2", "Undelivered|7")]),
        outcome(taken(A, "6a1"), taken(B, "6b2")),
    ),
    submit(
        "an upstream's words in place of a status",
        success([one(str(A), "6a1", "Destination closed"), one(str(B), "", "Destination closed")]),
        outcome(taken(A, "6a1")),
    ),
    submit(
        "a known status without an id",
        success([one(str(A), None, "Delivered|991"), one(str(B), None, None)]),
        outcome(taken(A, None)),
    ),
    submit(
        "a list with gaps, which PHP makes an object",
        success({"0": one(str(A), "6a1"), "2": one(str(B), "6b2")}),
        outcome(taken(A, "6a1"), taken(B, "6b2")),
    ),
    submit(
        "in another order",
        success(BOTH[::-1]),
        outcome(taken(B, "6b2"), taken(A, "6a1")),
        covers=Must.REORDERED,
    ),
    submit(
        "an invalid number is left out and named",
        success([one(str(B), "6b2")], message=f"Invalid numbers: {A}"),
        outcome(taken(B, "6b2")),
        covers=Must.MISSING,
    ),
    submit(
        "one is there twice",
        success([*BOTH, one(str(A), "6a9")]),
        outcome(taken(A, "6a1"), taken(B, "6b2")),
        covers=Must.DOUBLED,
    ),
    submit(
        "one is refused and accepted",
        success([one(str(A), "6a0", "Rejected"), one(str(A), "6a1"), one(str(A), "6a2")]),
        outcome(taken(A, "6a1")),
    ),
    submit(
        "one id for both is nobody's",
        success([one(str(A), "6a1"), one(str(B), "6a1")]),
        outcome(taken(A, None), taken(B, None)),
    ),
    submit(
        "somebody else is there",
        success([one(str(C), "6c3"), *BOTH]),
        outcome(taken(A, "6a1"), taken(B, "6b2")),
        covers=Must.NOT_ASKED,
    ),
    submit("only somebody else", success(one(str(C), "6c3")), NOBODY, asked=(A,)),
    submit("numbers that cannot be read", success([one("hidden", "6a1"), one([A], "6b2")]), NOBODY),
    submit("the document's own words", success(), NOBODY),
    submit("the document's own words for one", success(), NOBODY, asked=(A,)),
    submit("no data", {"status": "success", "message": "Sent"}, NOBODY),
    submit("an empty list", success([]), NOBODY),
    submit("entries that are none", success([None, "x", 5, []]), NOBODY),
    submit("token", NO_TOKEN, NO_TOKEN_MEANS, covers=Must.CREDENTIALS),
    submit("token, HTTP 401", {"message": "Unauthenticated."}, NO_TOKEN_MEANS, status=401),
    submit("token, HTTP 403", NO_TOKEN, NO_TOKEN_MEANS, status=403),
    submit(
        "no credit",
        NO_CREDIT,
        Failure(kind=ErrorKind.CREDIT, says="Not enough balance", hints="top up"),
        covers=Must.CREDIT,
    ),
    submit(
        "no credit, in other words",
        error("Insufficient Balance!"),
        Failure(kind=ErrorKind.CREDIT),
        status=422,
    ),
    submit(
        "no credit under 403 may be the upstream's, after an attempt",
        NO_CREDIT,
        Failure(kind=ErrorKind.DOUBTFUL, says="Not enough balance", code="403"),
        status=403,
    ),
    submit(
        "the one recipient is blacklisted at the provider",
        error("Number contains in the blacklist"),
        Failure(kind=ErrorKind.RECIPIENTS, says="Number contains in the blacklist"),
        asked=(A,),
        status=403,
    ),
    submit(
        "some recipient is blacklisted at the provider",
        error("Number contains in the blacklist"),
        DOUBT,
        status=403,
    ),
    submit(
        "no credit, but reports",
        NO_CREDIT | {"data": [one(str(A), "6a1")]},
        Failure(kind=ErrorKind.DOUBTFUL, says="with ids of messages beside it"),
    ),
    submit(
        "no credit for some",
        error("Not enough balance for 1 number"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Not enough balance for 1 number"),
    ),
    submit(
        "an unknown refusal under 403",
        error("Route temporarily closed"),
        Failure(kind=ErrorKind.DOUBTFUL, says="Route temporarily closed", code="403"),
        status=403,
        covers=Must.UNKNOWN_CODE,
    ),
    submit("an unknown refusal under 200", error("Sender ID is blocked"), DOUBT),
    submit(
        "Laravel's refusal of a field",
        {"message": "The given data was invalid.", "errors": {"recipient": ["Too long."]}},
        Failure(kind=ErrorKind.DOUBTFUL, says="The given data was invalid.; Too long."),
        status=422,
    ),
    submit("a refusal without words", {"status": "error"}, DOUBT),
    submit("no status", {"data": BOTH}, DOUBT),
    submit("an unknown status", success(BOTH) | {"status": "queued"}, DOUBT),
    submit("a list", [], DOUBT),
    submit(
        "no such route",
        error("The route could not be found."),
        Failure(kind=ErrorKind.CONFIGURATION, says="The route could not be found."),
        status=404,
    ),
    *alike((A, B), success(BOTH)),
)

REF = PollRef(job_id=None, targets=(PollTarget(msisdn=A, provider_message_id="6a1"),))
DELIVERED, UNDELIVERED = MessageState.DELIVERED, MessageState.UNDELIVERED
EXPIRED, SUBMITTED = MessageState.EXPIRED, MessageState.SUBMITTED


def reported(state, word, cost="1", **more):
    return DeliveryReport(
        msisdn=A,
        state=state,
        raw=word,
        provider_message_id="6a1",
        cost=None if cost is None else Decimal(cost),
        **more,
    )


def poll(name, body, *means, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    failure = means[0] if means and isinstance(means[0], Failure) else None
    return Poll(name=name, ref=REF, response=response, means=failure or means)


POLL = (
    poll("delivered", success(one(str(A), "6a1", "Delivered")), reported(DELIVERED, "Delivered")),
    poll(
        "in `status`, with an id after it",
        success(one(str(A), "6a1", "Delivered|88120", field="status", cost="0.4")),
        reported(DELIVERED, "Delivered", "0.4"),
    ),
    poll(
        "`customer_status` before `status`",
        success(one(str(A), "6a1", "Undelivered") | {"status": "Delivered|88120"}),
        reported(UNDELIVERED, "Undelivered"),
    ),
    poll(
        "a reason after the status",
        success(one(str(A), "6a1", "Rejected|Blacklisted 8801712345678")),
        reported(UNDELIVERED, "Rejected", error_code="Blacklisted 8801••••5678"),
    ),
    poll(
        "a list with a recipient that was not in the request",
        success([one(str(B), "6b2", "Delivered"), one(str(A), "6a1", "Expired")]),
        reported(EXPIRED, "Expired"),
    ),
    poll(
        "an id alone",
        success({"uid": "6a1", "status": "Delivered"}),
        reported(DELIVERED, "Delivered", None),
    ),
    poll(
        "neither a number nor an id: it is what was asked for",
        success({"status": "Delivered|88120"}),
        reported(DELIVERED, "Delivered", None),
    ),
    poll(
        "an upstream's words are a failure, once nothing better comes",
        success(one(str(A), "6a1", "Route 7 closed", field="status")),
        reported(UNDELIVERED, "Route 7 closed", provisional=True, error_code="Route 7 closed"),
    ),
    poll("a number and an id that contradict each other", success(one(str(B), "6a1", "Delivered"))),
    poll("no status", success(one(str(A), "6a1", None))),
    poll("the document's own words", success("sms data with all details")),
    poll("no data", {"status": "success"}),
    poll("a message it does not know", error("SMS Info not found"), status=403),
    poll("a message it does not know, HTTP 404", error("No query results"), status=404),
    poll("a message it will not show", error("You have no access"), status=200),
    poll(
        "no such page",
        raw(HTML.body, 404),
        Failure(kind=ErrorKind.CONFIGURATION, says="HTTP 404", hints="base_url"),
    ),
    poll("token", NO_TOKEN, NO_TOKEN_MEANS),
    poll("token, HTTP 401", NO_TOKEN, NO_TOKEN_MEANS, status=401),
    poll("HTML", HTML, DOUBT),
    poll(
        "too many requests",
        raw(b"", 429, retry_after="7"),
        Failure(kind=ErrorKind.THROTTLED, retry_after_s=7.0),
    ),
    poll("the server failed", success(one(str(A), "6a1", "Delivered")), DOUBT, status=500),
)


def page(*entries, number=1, last=1, **more):
    fields = {"current_page": number, "data": list(entries), "per_page": 25, "last_page": last}
    following = f"https://example.com/api/v3/sms?page={number + 1}" if number < last else None
    return success(fields | {"next_page_url": following, "total": 25 * last} | more)


def listed(msisdn, uid, word="Enroute", state=SUBMITTED, **more):
    values = {
        "provider_message_id": uid,
        "msisdn": msisdn,
        "text": "This is a test message",
        "sender": "YourName",
        "state": state,
        "raw": word,
        "cost": Decimal(1),
    }
    return ListedMessage(**(values | more))


def listing(name, body, means, *, number=0, status=200):
    response = answer(body, status) if isinstance(body, dict | list) else body
    return Listing(name=name, page=number, response=response, means=means)


def found(*entries, following=None, whole=True):
    return ListPage(entries=entries, next_page=following, whole=whole)


IN = one("YourName", "6i9", direction="incoming") | {"from": str(A)}
NOT_A_PAGE = Failure(kind=ErrorKind.DOUBTFUL, says="no readable page")
NOT_THE_PAGE = Failure(kind=ErrorKind.DOUBTFUL, says="no readable page 1")
AT = datetime(2026, 3, 1, 7, 30, 15, tzinfo=UTC)

LISTINGS = (
    listing(
        "the only page",
        page(
            one(str(B), "6b2", "Delivered|88120", created_at="2026-03-01T07:30:15.000000Z"),
            one(A, "6a1", field="status", created_at="2026-03-01T13:30:15+06:00"),
        ),
        found(
            listed(B, "6b2", "Delivered", DELIVERED, created_at=AT), listed(A, "6a1", created_at=AT)
        ),
    ),
    listing(
        "the first of three",
        page(one(str(A), "6a1"), last=3),
        found(listed(A, "6a1"), following=1),
    ),
    listing(
        "the second of three",
        page(one(str(A), "6a1"), number=2, last=3),
        found(listed(A, "6a1"), following=2),
        number=1,
    ),
    listing(
        "the last of three",
        page(one(str(A), "6a1"), number=3, last=3),
        found(listed(A, "6a1")),
        number=2,
    ),
    listing(
        "more by the address of the next alone",
        success({"data": [one(str(A), "6a1")], "next_page_url": "https://example.com/?page=2"}),
        found(listed(A, "6a1"), following=1),
    ),
    listing(
        "more by the last page's number alone",
        success({"data": [one(str(A), "6a1")], "current_page": "1", "last_page": "2"}),
        found(listed(A, "6a1"), following=1),
    ),
    listing("an empty page ends it", page(last=5), found()),
    listing(
        "inbound messages are left out",
        page(IN, one(str(A), "6a1"), one(str(A), "6i8", send_by="to") | {"from": str(B)}),
        found(listed(A, "6a1")),
    ),
    listing(
        "sent to a name: a reply to it, as servers list them that tell no direction",
        page(one("YourName", "6i7") | {"from": str(A)}, one(str(A), "6a1")),
        found(listed(A, "6a1")),
    ),
    listing(
        "as a public server lists them: no dates, no directions",
        page(
            {
                k: v
                for k, v in one(str(A), "6a1", "Delivered|88120", field="status").items()
                if k in {"uid", "to", "from", "message", "status", "cost"}
            }
        ),
        found(listed(A, "6a1", "Delivered", DELIVERED)),
    ),
    listing(
        "a time without a zone is none",
        page(one(str(A), "6a1", created_at="2026-03-01 07:30:15", message=None, cost=None)),
        found(listed(A, "6a1", text=None, cost=None)),
    ),
    listing(
        "no status, no sender",
        page(one(str(A), "6a1", None) | {"from": None}),
        found(listed(A, "6a1", "", sender=None)),
    ),
    listing("another page than was asked for", page(one(str(A), "6a1"), number=2), NOT_THE_PAGE),
    listing(
        "a number that cannot be read proves nothing of others, but its own id",
        page(one("8801XXXX678", "6a1"), one(None, "6b2")),
        found(listed(None, "6a1"), listed(None, "6b2"), whole=False),
    ),
    listing(
        "no id, and an entry that is none",
        page(one(str(A), None), one(str(B), "6b2"), None),
        found(listed(B, "6b2"), whole=False),
    ),
    listing(
        "a list with gaps, which PHP makes an object",
        success({"data": {"0": one(str(A), "6a1"), "2": one(str(B), "6b2")}, "current_page": 1}),
        found(listed(A, "6a1"), listed(B, "6b2")),
    ),
    listing(
        "a list without pages may be cut short",
        success([one(str(A), "6a1")]),
        found(listed(A, "6a1"), whole=False),
    ),
    listing("the document's own words", success("sms reports with pagination"), NOT_A_PAGE),
    listing("token", NO_TOKEN, NO_TOKEN_MEANS),
    listing("an unknown refusal", error("No access"), DOUBT, status=403),
    listing("HTML", HTML, DOUBT),
)

BALANCE = (
    Read(
        name="units",
        response=answer(success({"remaining_unit": 1200, "expired_on": "23rd Aug 27"})),
        means=(Balance(package="units", amount=Decimal(1200)),),
    ),
    Read(
        name="money, with a currency's sign",
        response=answer(success({"remaining_balance": "৳1,250.50"})),
        means=(Balance(package="balance", amount=Decimal("1250.50")),),
    ),
    Read(
        name="money, with a currency's letters",
        response=answer(success({"remaining_balance": "286 IQD"})),
        means=(Balance(package="balance", amount=Decimal(286)),),
    ),
    *(
        Read(
            name=f"no number: {value!r}",
            response=answer(success({"remaining_unit": value})),
            means=Failure(kind=ErrorKind.DOUBTFUL, says="no readable balance"),
        )
        for value in ("1,25", "1.2.3", "", None, [5], True)
    ),
    Read(
        name="no limit, in a word of the server's language",
        response=answer(success({"remaining_balance": "Unlimited", "expired_on": "never"})),
        means=(),
    ),
    Read(name="the document's own words", response=answer(success("sms Balance")), means=DOUBT),
    Read(name="token", response=answer(NO_TOKEN), means=NO_TOKEN_MEANS),
    Read(name="HTML", response=HTML, means=DOUBT),
)

CONTACT_LISTS = (
    ContactList(
        name="the document's own words",
        response=answer(success("campaign reports with all details")),
        means=None,
    ),
    ContactList(name="no data", response=answer({"status": "success"}), means=None),
    ContactList(name="a handle", response=answer(success({"uid": "6f00"})), means="6f00"),
    ContactList(name="no credit", response=answer(NO_CREDIT), means=Failure(kind=ErrorKind.CREDIT)),
    ContactList(
        name="an unknown refusal", response=answer(error("No such list"), 403), means=DOUBT
    ),
    ContactList(name="token", response=answer(NO_TOKEN, 401), means=NO_TOKEN_MEANS),
    ContactList(name="HTML", response=HTML, means=DOUBT),
)

STATUS_WORDS = StatusWords(
    ref=REF,
    answer=lambda word: answer(success(one(str(A), "6a1", word))),
    words={
        "Enroute": (SUBMITTED, False),
        "Accepted": (SUBMITTED, False),
        "Delivered": (DELIVERED, False),
        "delivered": (DELIVERED, False),
        "DELIVERED": (DELIVERED, False),
        "Undelivered": (UNDELIVERED, False),
        "Expired": (EXPIRED, False),
        "Rejected": (UNDELIVERED, False),
        "Skipped": (UNDELIVERED, False),
        "Failed": (UNDELIVERED, False),
        "Sent": (SUBMITTED, False),
        "Queued": (SUBMITTED, False),
        "Pending": (SUBMITTED, False),
        "Scheduled": (SUBMITTED, False),
        "Processing": (SUBMITTED, False),
    },
    unknown=(UNDELIVERED, True),
)


def batch(*recipients, route=ROUTE, **more):
    """A batch of pairs of number and text."""
    return SubmitBatch(
        recipients=tuple(Recipient(seq, *pair) for seq, pair in enumerate(recipients)),
        encoding=Encoding.GSM7,
        kind=Kind.TRANSACTIONAL,
        route=route,
        **more,
    )


def builds(base):
    def sent(recipient, message, **more):
        fields = {"recipient": recipient, "sender_id": "YourName", "type": "plain"}
        return Expected(
            url=f"{base}/sms/send", headers=HEADERS, body=fields | {"message": message} | more
        )

    return (
        Build(
            name="one recipient",
            batch=batch((A, "This is a test message")),
            requests=(sent(str(A), "This is a test message"),),
        ),
        Build(
            name="several recipients of one text",
            batch=batch((A, "नमस्ते"), (B, "नमस्ते")),
            requests=(sent(f"{A},{B}", "नमस्ते"),),
        ),
        Build(
            name="personal texts, some of them the same",
            batch=batch((A, "Hi Asha"), (B, "Hi Ben"), (C, "Hi Asha")),
            requests=(sent(f"{A},{C}", "Hi Asha"), sent(str(B), "Hi Ben")),
        ),
        Build(
            name="later, with a DLT template",
            batch=batch(
                (A, "Hi"),
                route=Route(sender="YourName", template="1107000000001"),
                schedule_at=datetime(2026, 12, 20, 1, 0, tzinfo=UTC),
            ),
            requests=(
                sent(
                    str(A), "Hi", schedule_time="2026-12-20 07:00", dlt_template_id="1107000000001"
                ),
            ),
        ),
    )


def family(base, *, balance=True, contact_lists=True):
    """The cases of the server at `base`, with what its document has."""
    return ProviderCases(
        settings=SETTINGS,
        build=builds(base),
        submit=SUBMIT,
        refuses=lambda words: answer(error(words)),
        poll=POLL,
        status_words=STATUS_WORDS,
        lists_accepted=LISTINGS,
        contact_lists=CONTACT_LISTS if contact_lists else (),
        balance=BALANCE if balance else (),
    )
