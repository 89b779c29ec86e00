"""A batch's turn in this process: a claimed batch, its services, and a flight that answers."""

import threading
from datetime import UTC, timedelta
from types import SimpleNamespace

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import NotBegun
from dispatcher.status import BatchState
from dispatcher.store import accounts
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT
from dispatcher.types import (
    HttpRequest,
    HttpResponse,
    Recipient,
    RecipientResult,
    SubmitOutcome,
    SubmitRequest,
)
from tests.support.presence import known_worker
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    FakeProvider,
    add_campaign,
    batch_of,
    campaign_of,
    change,
    claim,
    queued,
    settings,
)
from workers.batch.prepared import PreparedBatch
from workers.batch.turn import Turn
from workers.http.flight import Landed
from workers.http.pace import Paces
from workers.release_clock import ReleaseClock

ACCEPTED = HttpResponse(status=200, body=b"{}")
THROTTLED = ProviderError(ErrorKind.THROTTLED, "slow down", retry_after_s=1)


class Accepting(FakeProvider):
    """Its provider accepts whoever is in a request that it answers."""

    def parse_submit(self, request, response):
        results = [
            RecipientResult(msisdn=r.msisdn, accepted=True, provider_message_id=f"id-{r.seq}")
            for r in request.recipients
        ]
        return SubmitOutcome(results=tuple(results))


class FakeFlight:
    """Requests land at the second look, in order, each with its next answer.

    One at each look, or all `together`.
    """

    def __init__(self, answers, *, together=False):
        self._together = together
        self._answers, self._open, self._is_fresh = answers, [], False
        self.groups, self.most, self.is_stopped, self.is_closed = [], 0, False, False
        self.timeouts_s = []

    @property
    def under_way(self):
        return len(self._open)

    def send(self, requests):
        self._is_fresh = True
        self.groups.append(list(requests))
        self._open += requests
        self.most = max(self.most, self.under_way)

    def collect(self, *, timeout_s):
        self.timeouts_s.append(timeout_s)
        if self._is_fresh or not self._open:
            self._is_fresh = False
            return []
        count = len(self._open) if self._together else 1
        landing, self._open = self._open[:count], self._open[count:]
        return [self._land(request.number) for request in landing]

    def _land(self, number):
        if self.is_stopped:
            return Landed(number, NotBegun("stopped"), 0.0)
        given = self._answers.get(number)
        return Landed(number, given.pop(0) if given else ACCEPTED, 0.25)

    def stop(self):
        self.is_stopped = True

    def close(self):
        self.is_closed = True


class RecordingClock(ReleaseClock):
    """Remembers what it was told of the provider's answers."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note_answers(self, account, seen):
        self.seen.append(seen)
        super().note_answers(account, seen)


class Stand:
    """A claimed batch of `sizes`, a request each, in a process of its own.

    A batch of several requests gets half of its account's slots: here at most two. Its campaign
    has further batches, of the sizes `beside`.
    """

    def __init__(
        self,
        store,
        sizes=(1, 1, 1),
        *,
        answers=None,
        rate=None,
        text="Hi",
        together=False,
        max_in_flight=4,
        beside=(),
        **limits,
    ):
        self.store, self.limits = store, settings(max_in_flight=max_in_flight, **limits)
        self.campaign = add_campaign(store, [sum(sizes), *beside], rate=rate)
        with store.read() as conn:
            self.now = store_now(conn)
        self.claim = claim(store, queued(store, now=self.now)[0], now=self.now, lease=LEASE)
        self.sizes, self.text, self.flight = (
            sizes,
            text,
            FakeFlight(answers or {}, together=together),
        )
        self.recorded, self.stopping, self.clock = [], threading.Event(), RecordingClock()
        self.services = SimpleNamespace(
            store=store,
            settings=SimpleNamespace(account=lambda _name: self.limits),
            stopping=self.stopping,
            paces=Paces(known_worker()),
            release_clock=self.clock,
            zone_of=lambda _account: UTC,
            rollback_guard=SimpleNamespace(record_attempts=self.recorded.extend),
            runtime=SimpleNamespace(open_flight=lambda *, timeout_s: self.flight),
        )
        self.batch = self.prepare()

    def prepare(self):
        requests, seq = [], self.claim.first_seq
        for size in self.sizes:
            people = tuple(
                Recipient(s, FIRST_NUMBER + s, self.text) for s in range(seq, seq + size)
            )
            http = HttpRequest(method="POST", url="http://127.0.0.1:9")
            requests.append(SubmitRequest(http=http, recipients=people))
            seq += size
        return PreparedBatch(
            at=self.now, claim=self.claim, provider=Accepting(self.limits), requests=requests,
            account=self.account, campaign=campaign_of(self.store, self.campaign),
        )  # fmt: skip

    def change_account(self, **values):
        with self.store.write() as conn:
            change(conn, ACCOUNT, ACCOUNT.c.name == "main", **values)

    def run(self):
        return Turn(self.services, self.batch).run()

    @property
    def account(self):
        with self.store.read() as conn:
            return accounts.find_account(conn, "main")

    @property
    def sent(self):
        return [request.number for group in self.flight.groups for request in group]

    @property
    def state(self):
        return BatchState(batch_of(self.store, self.claim.id).state)

    @property
    def starts(self):
        return [r.departure.not_before for group in self.flight.groups for r in group]


def after(stand, seconds):
    return stand.now + timedelta(seconds=seconds)
