"""When providers are asked for balances: as often as configured, and soon again after a failure."""

from datetime import timedelta
from decimal import Decimal

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.notify.balances import BalanceQuestions
from dispatcher.store import accounts
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT
from dispatcher.types import Balance, HttpResponse
from tests.support import stores
from workers import notifier

LEFT = [Balance(package="all", amount=Decimal(7))]
EVERY_S = 900


class Asker:
    """A provider that tells a balance while it works, a clock, and when it was asked."""

    def __init__(self, store):
        self.store, self.now, self.works, self.asked_at = store, 0.0, True, []
        self.process = self.new_process()
        stores.add_account(store)

    def new_process(self):
        return BalanceQuestions(clock=lambda: self.now)

    def look_until(self, end):
        """A look every five seconds, as passes are made."""
        while self.now < end:
            self.process.ask_due(self.store, ["main"], self.ask, EVERY_S)
            self.now += 5
        return self.asked_at

    def ask(self, _name):
        self.asked_at.append(self.now)
        return LEFT if self.works else None

    def row(self):
        with self.store.read() as conn:
            return accounts.find_account(conn, "main")


@pytest.fixture
def asker(store):
    return Asker(store)


def make_due(asker):
    """The balance was read long ago; when."""
    with asker.store.write() as conn:
        at = store_now(conn) - timedelta(hours=1)
        stores.change(conn, ACCOUNT, ACCOUNT.c.name == "main", balance_at=at)
    return at


def test_a_balance_that_was_read_is_asked_for_once_in_a_while(asker):
    assert asker.look_until(100) == [0]
    assert asker.row().balance == '{"all":"7"}'
    make_due(asker)
    assert asker.look_until(200) == [0, 100]


def test_after_a_failure_it_is_asked_for_soon_then_less_and_less(asker):
    asker.works = False
    assert asker.look_until(3500) == [0, 60, 180, 420, 900, 1800, 2700]
    asker.works = True
    asker.look_until(3700)
    assert asker.asked_at[-1] == 3600
    make_due(asker)
    asker.works = False
    asker.now = 10_000.0
    assert asker.look_until(10_100)[-2:] == [10_000, 10_060], "pauses begin anew"


def test_a_failure_leaves_the_balance_as_old_as_it_was(asker):
    asker.look_until(5)
    at = make_due(asker)
    asker.works = False
    assert asker.look_until(20) == [0, 5]
    assert (asker.row().balance, asker.row().balance_at) == ('{"all":"7"}', at)
    asker.process = asker.new_process()
    assert asker.look_until(25) == [0, 5, 20], "another process does not wait for this one's pause"


def test_while_one_asks_no_other_does(asker):
    other = asker.new_process()

    def ask_slowly(name):
        other.ask_due(asker.store, [name], asker.ask, EVERY_S)

    asker.process.ask_due(asker.store, ["main"], ask_slowly, EVERY_S)
    assert asker.asked_at == []


class Reader:
    """Answers, or raises."""

    def __init__(self, given):
        self.given, self.noted = given, []

    def send(self, _account, _request):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def note_error(self, _account, error):
        self.noted.append(error)


class Provider:
    """Reads what `said` is, or raises it."""

    def __init__(self, said):
        self.said = said

    def balance_request(self):
        return None

    def parse_balance(self, _response):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


ANSWER = HttpResponse(status=200, headers={}, body=b"{}")
REFUSED = ProviderError(ErrorKind.THROTTLED, "too many requests")


@pytest.mark.parametrize(
    ("given", "said", "expected", "noted", "logged"),
    [
        (ANSWER, LEFT, LEFT, [], 0),
        (None, LEFT, None, [], 0),
        (REFUSED, LEFT, None, [], 1),
        (ANSWER, REFUSED, None, [REFUSED], 1),
        (ANSWER, [], [], [], 1),
    ],
)
def test_a_failure_is_logged_and_a_refusal_as_one_too_many_is_noted(
    given, said, expected, noted, logged, caplog
):
    reader = Reader(given)
    services = type("Services", (), {"reader": reader, "provider_of": lambda _name: Provider(said)})
    assert notifier._ask_balance(services, "main") == expected
    assert reader.noted == noted
    assert len(caplog.records) == logged
