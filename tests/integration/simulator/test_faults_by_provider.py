"""Each fault of the simulator, alone, at each provider: what becomes of every recipient.

Adapter, transport and judgement are the real ones; the expectations are the table of answers.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.transport import HttpClient
from dispatcher.policy.verdict import judge_answer, judge_error, partial_stop_error
from dispatcher.providers import provider_class, provider_names
from dispatcher.simulator.faults import FAULTS, CallKind
from dispatcher.status import Encoding, Kind
from dispatcher.types import Recipient, Route, SubmitBatch
from tests.support.simulator import SimulatorProcess

SETTINGS = {
    "thesmspoint": {"api_key": "k"},
    "smsnoc": {"api_token": "k"},
    "standingtech": {"api_token": "k"},
    "ultimate_sms": {"api_token": "k"},
    "voip_communications": {"api_key": "k", "api_password": "p"},
    "aoc_portal": {"api_key": "k"},
}
ROUTES = {
    "thesmspoint": Route(
        sender="SENDER", sender_ref="4101", template="T", template_ref="1107160000000007201"
    ),
    "voip_communications": Route(sender="12025550100"),
}
FAMILY = frozenset({"smsnoc", "standingtech", "ultimate_sms"})
SECONDS = {"hang_before": {"seconds": 5}, "hang_after": {"seconds": 5}, "slow": {"ms": 100}}

ALL_ACCEPTED = {"accepted": 10}
#: None in doubt and none refused: they are submitted again, or wait.
NOT_SENT = {"pending": 10}
IN_DOUBT = {"doubtful": 10}
ONE_IN_DOUBT = {"accepted": 9, "doubtful": 1}
ONE_REFUSED = {"accepted": 9, "rejected": 1}

#: Fault → what becomes of ten recipients of a request, and the error where all of it failed.
EXPECTED = {
    "slow": (ALL_ACCEPTED, None),
    "hang_before": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "reset_before": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "error_before": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "html_before": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "throttled": (NOT_SENT, ErrorKind.THROTTLED),
    "not_found": (NOT_SENT, ErrorKind.CONFIGURATION),
    "too_large": (NOT_SENT, ErrorKind.CONFIGURATION),
    "redirect": (NOT_SENT, ErrorKind.CONFIGURATION),
    "credentials": (NOT_SENT, ErrorKind.CREDENTIALS),
    "credit": (NOT_SENT, ErrorKind.CREDIT),
    "refused_before": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "hang_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "reset_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "eof_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "error_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "html_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "truncated": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "refused_after": (IN_DOUBT, ErrorKind.DOUBTFUL),
    "missing": (ONE_IN_DOUBT, None),
    "doubled": (ALL_ACCEPTED, None),
    "reordered": (ALL_ACCEPTED, None),
    "ten_digit": (ALL_ACCEPTED, None),
    "code_string": (ALL_ACCEPTED, None),
    "bare_array": (ALL_ACCEPTED, None),
    "created": (ALL_ACCEPTED, None),
    "status_field": (ALL_ACCEPTED, None),
    "status_suffix": (ALL_ACCEPTED, None),
}
#: Shapes of answers that only some providers have; the others answer as usual.
OWN_SHAPES = {
    "some_refused": (ONE_REFUSED, None, FAMILY | {"voip_communications"}),
    "invalid_left_out": (ONE_IN_DOUBT, None, FAMILY),
    # Success without a row for each recipient: only the provider's list can say more.
    "no_data": (IN_DOUBT, ErrorKind.DOUBTFUL, FAMILY),
    "short": (IN_DOUBT, ErrorKind.DOUBTFUL, FAMILY),
    "unknown_code": (ONE_IN_DOUBT, None, frozenset({"voip_communications"})),
    "shared_id": (ALL_ACCEPTED, None, frozenset({"voip_communications"})),
}
TABLE = [
    *((name, fault, *meaning) for name in provider_names() for fault, meaning in EXPECTED.items()),
    *(
        (name, fault, *((becomes, kind) if name in able else (ALL_ACCEPTED, None)))
        for name in provider_names()
        for fault, (becomes, kind, able) in OWN_SHAPES.items()
    ),
]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=5) as running:
        yield running


class Client:
    """One client for all tests, on its own event loop: `client.submitted(…)`."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._http = HttpClient(connections=1)

    def submitted(self, *args, **more):
        return self._runner.run(submitted(self._http, *args, **more))

    def close(self) -> None:
        self._runner.run(self._http.close())


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with asyncio.Runner() as runner, closing(Client(runner)) as one:
        yield one


async def submitted(client, base_url, name, asked, *, timeout_s=20.0):
    """What became of each recipient of a batch, and the kind of its error."""
    cls = provider_class(name)
    keys = {"provider": name, "base_url": base_url, **SETTINGS[name]}
    provider = cls(cls.settings_type.model_validate(keys))
    recipients = tuple(Recipient(i, msisdn, "One for all.") for i, msisdn in enumerate(asked))
    batch = SubmitBatch(
        recipients=recipients,
        encoding=Encoding.GSM7,
        kind=Kind.TRANSACTIONAL,
        route=ROUTES.get(name, Route(sender="SENDER")),
    )
    (request,) = provider.submit_requests(batch)
    kind = None
    try:
        response = await client.send(request.http, timeout_s=timeout_s)
        outcome = provider.parse_submit(request, response)
        verdict, stop = judge_answer(request.recipients, outcome), partial_stop_error(outcome)
        kind = stop.kind if stop is not None else None
    except ProviderError as error:
        kind, verdict = error.kind, judge_error(request.recipients, error)
    became = dict.fromkeys(asked, "pending")
    for state in ("accepted", "rejected", "doubtful"):
        became |= {asked[one.seq]: state for one in getattr(verdict, state)}
    return became, kind


@pytest.mark.parametrize(
    ("first", "name", "fault", "expected", "kind"),
    [
        pytest.param(919855600000 + 10 * place, *row, id=f"{row[0]}: {row[1]}")
        for place, row in enumerate(TABLE)
    ],
)
def test_every_recipient_ends_as_the_table_of_answers_says(
    simulator, client, first, name, fault, expected, kind
):
    # Each case has its own numbers: a request that hangs is accepted after its client has left.
    asked = [*range(first, first + 10)]
    simulator.reset()
    simulator.fault(fault, params=SECONDS.get(fault, {}))

    hangs = fault in {"hang_before", "hang_after"}
    base_url = simulator.base_url(name)
    became, met = client.submitted(base_url, name, asked, timeout_s=0.5 if hangs else 20)

    assert Counter(became.values()) == Counter(expected)
    assert met == kind
    taken = {int(entry["number"]) for entry in simulator.ledger()}
    for number, state in became.items():
        assert number in taken or state != "accepted", (
            "a recipient counts as accepted although the simulator did not accept it"
        )
        assert number not in taken or state in {"accepted", "doubtful"}, "nobody goes out twice"
    assert simulator.stats()["malformed"] == 0


def test_recipients_that_the_balance_does_not_cover_wait_for_credit(simulator, client):
    name, asked = "voip_communications", [*range(919855700000, 919855700010)]
    simulator.reset()
    simulator.set_balance(4, provider=name)

    became, met = client.submitted(simulator.base_url(name), name, asked)

    assert [became[number] for number in asked] == ["accepted"] * 4 + ["pending"] * 6
    assert met is ErrorKind.CREDIT


@pytest.mark.parametrize("name", provider_names())
def test_where_nobody_listens_nothing_was_sent(client, name):
    became, met = client.submitted("http://127.0.0.1:1/api", name, [919855600001])
    assert (became, met) == ({919855600001: "pending"}, ErrorKind.UNREACHABLE)


def test_every_fault_of_a_submission_is_in_the_table():
    of_submissions = {
        name for name, fault in FAULTS.items() if fault.on in {CallKind.SUBMIT.value, "any"}
    }
    assert of_submissions == {*EXPECTED, *OWN_SHAPES}
