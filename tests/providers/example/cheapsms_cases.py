"""CheapSMS's cases."""

from dispatcher.errors import ErrorKind
from dispatcher.status import Encoding, Kind
from dispatcher.types import Recipient, RecipientResult, Route, SubmitBatch, SubmitOutcome
from tests.providers import contract
from tests.providers.contract import Expected, Failure, Must, answer

KEY = "not-a-real-key"
A, B = 919810012345, 919810067890
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
ROWS = (
    (Must.ALL_ACCEPTED, answer({"sent": {A: "m1", B: "m2"}}), {A: "m1", B: "m2"}),
    (Must.REORDERED, answer({"sent": {B: "m2", A: "m1"}}), {B: "m2", A: "m1"}),
    (Must.MISSING, answer({"sent": {A: "m1"}}), {A: "m1"}),
    (Must.NOT_ASKED, answer({"sent": {A: "m1", 919800000001: "x"}}), {A: "m1"}),
    (Must.CREDENTIALS, answer({"error": "bad key"}, 401), ErrorKind.CREDENTIALS),
    (Must.CREDIT, answer({"error": "No credit"}, 402), ErrorKind.CREDIT),
    (Must.ALL_REFUSED, answer({"error": "Bad sender"}, 400), ErrorKind.CAMPAIGN),
    (Must.UNKNOWN_CODE, answer({"error": "E99"}, 400), ErrorKind.DOUBTFUL),
)  # fmt: skip


def meaning(of):
    if isinstance(of, dict):
        return SubmitOutcome(results=tuple(
            RecipientResult(msisdn=n, accepted=True, provider_message_id=i) for n, i in of.items()
        ))  # fmt: skip
    return Failure(kind=of)


CASES = contract.ProviderCases(
    settings={"api_key": KEY},
    build=(
        contract.Build(
            name="two recipients of one text",
            batch=SubmitBatch(
                recipients=(Recipient(0, A, "Hello"), Recipient(1, B, "Hello")),
                encoding=Encoding.GSM7, kind=Kind.OTP, route=Route(sender="ACME"),
            ),
            requests=(Expected(url="https://cheapsms.example/v1/send", headers=HEADERS,
                               body={"from": "ACME", "to": [str(A), str(B)], "text": "Hello"}),),
        ),
    ),
    submit=(
        *contract.alike((A, B), {"sent": {A: "m1", B: "m2"}}),
        *(
            contract.Submit(name=must, covers=must, asked=(A, B), response=got, means=meaning(of))
            for must, got, of in ROWS
        ),
    ),
    refuses=lambda words: answer({"error": words}, 400),
    not_applicable={
        Must.PARTLY_REFUSED: "the document knows no refusal of one of several",
        Must.DOUBLED: "a JSON object has every number once",
    },
)  # fmt: skip
