"""The killer: what befalls the crew, drawn from a seed, and when it befell whom."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa
from celery import Celery

from dispatcher.errors import StoreError
from dispatcher.status import IN_FLIGHT, AttemptOutcome
from dispatcher.store.tables import ATTEMPT, BATCH
from tests.chaos.crew import Crew
from tests.chaos.judge import Blow
from tests.support.postgres_server import PostgresServer
from tests.support.stage import Stage

#: Old tickets are kept for later.
_TICKETS = 300
#: An aimed kill waits so long for a request that is under way.
_AIM_S = 1.5


class Killer:
    """Draws one event after another. `blows` are those that may have cost a worker's requests."""

    def __init__(
        self, stage: Stage, crew: Crew, rng: random.Random, postgres: PostgresServer | None
    ) -> None:
        self._stage, self._crew, self._rng, self._postgres = stage, crew, rng, postgres
        self._tickets: list[tuple[int, int]] = []
        self._reopen_at: float | None = None
        self.events: Counter[str] = Counter()
        self.blows: list[Blow] = []
        weighted: list[tuple[Callable[[], bool], int]] = [
            (self._kill_worker, 12),
            (self._kill_beat, 2),
            (self._kill_broker, 1),
            (self._stop_worker, 3),
            (self._deploy, 2),
            (self._flush, 1),
            (self._duplicate, 3),
            (self._second_beat, 2),
        ]
        if postgres is not None:
            weighted += [(self._crash_postgres, 2), (self._shut_postgres, 1)]
        self._events, self._weights = zip(*weighted, strict=True)

    @property
    def kills(self) -> int:
        """How many processes got `kill -9`."""
        return sum(n for name, n in self.events.items() if name.startswith("kill "))

    def strike(self) -> None:
        """Let one thing happen; another, where it cannot just now."""
        self._remember_tickets()
        while not self._rng.choices(self._events, self._weights)[0]():
            pass

    def keep_up(self) -> None:
        """End what was begun for some seconds only."""
        if self._reopen_at is not None and time.monotonic() >= self._reopen_at:
            self._open_postgres()

    def calm_down(self) -> None:
        """Nothing more happens."""
        while self._reopen_at is not None:
            self._open_postgres()

    # --- Processes ----------------------------------------------------------------------------

    def _kill_worker(self) -> bool:
        name = self._victim()
        if name is None:
            return False
        if self._rng.random() < 0.8:
            self._aim()
        self._crew.kill(name)
        self._blow(name, kills=True)
        self.events["kill worker"] += 1
        return True

    def _stop_worker(self) -> bool:
        name = self._victim()
        if name is None:
            return False
        # Shorter and longer than a lease.
        seconds = self._rng.choice([0.3, 1.5, 4.0, 9.0])
        self._crew.sleep(name, seconds)
        self._blow(name, kills=False, seconds=seconds)
        self.events["stop worker"] += 1
        return True

    def _blow(self, worker: str, *, kills: bool, seconds: float = 0.0) -> None:
        now = datetime.now(UTC)
        self.blows.append(Blow(worker=worker, at=now, kills=kills, seconds=seconds))

    def _victim(self) -> str | None:
        ready = self._crew.ready()
        return self._rng.choice(ready) if ready else None

    def _aim(self) -> None:
        """Wait until any process has a request in flight."""
        is_open = sa.select(ATTEMPT.c.id).where(ATTEMPT.c.outcome == AttemptOutcome.OPEN)
        deadline = time.monotonic() + _AIM_S
        while time.monotonic() < deadline:
            with suppress(StoreError), self._stage.store.read() as conn:
                if conn.execute(is_open.limit(1)).first() is not None:
                    return
            time.sleep(0.02)

    def _kill_beat(self) -> bool:
        self._crew.kill("beat")
        self.events["kill beat"] += 1
        return True

    def _deploy(self) -> bool:
        name = self._victim()
        if name is None:
            return False
        self._crew.deploy(name)
        self.events["deploy"] += 1
        return True

    def _second_beat(self) -> bool:
        self._crew.toggle_second_beat()
        self.events["second beat"] += 1
        return True

    # --- The broker ---------------------------------------------------------------------------

    def _kill_broker(self) -> bool:
        if not self._crew.broker_answers:
            return False
        self._crew.kill_broker(self._rng.choice([0.0, 1.0, 3.0]))
        self.events["kill broker"] += 1
        return True

    def _flush(self) -> bool:
        if not self._crew.broker_answers:
            return False
        self._stage.flush_broker()
        self.events["flushall"] += 1
        return True

    def _remember_tickets(self) -> None:
        with suppress(StoreError), self._stage.store.read() as conn:
            query = sa.select(BATCH.c.id, BATCH.c.fence).where(BATCH.c.state.in_(sorted(IN_FLIGHT)))
            self._tickets += [(row.id, row.fence) for row in conn.execute(query)]
        del self._tickets[:-_TICKETS]

    def _duplicate(self) -> bool:
        """Old task messages, and those of just now, come once more."""
        if not self._crew.broker_answers or not self._tickets:
            return False
        again = self._rng.choices(self._tickets, k=10) + self._tickets[-10:]
        self._publish(again)
        self.events["duplicated messages"] += len(again)
        return True

    def _publish(self, tickets: Sequence[tuple[int, int]]) -> None:
        assert self._stage.broker is not None
        with Celery(broker=self._stage.broker.url, set_as_current=False) as remote:
            for ticket in tickets:
                remote.send_task("dispatcher.submit", ticket, queue="submit.main", retry=False)

    # --- PostgreSQL ---------------------------------------------------------------------------

    @property
    def _database(self) -> str:
        return str(self._stage.store.url.database)

    def _crash_postgres(self) -> bool:
        """`kill -9` of a session: the server ends all of them and recovers from its log."""
        if self._reopen_at is not None:
            return False
        with suppress(StoreError), self._stage.store.read() as conn:
            pid = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            os.kill(pid, signal.SIGKILL)
            self.events["crash of PostgreSQL"] += 1
            return True
        return False

    def _shut_postgres(self) -> bool:
        """Nobody gets in for some seconds, and who is in is thrown out."""
        if self._reopen_at is not None:
            return False
        self._reopen_at = time.monotonic() + self._rng.choice([1.0, 3.0, 7.0])
        is_done = self._order(
            f"ALTER DATABASE {self._database} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self._database}'",
        )
        self.events["PostgreSQL away"] += is_done
        return is_done

    def _open_postgres(self) -> None:
        if self._order(f"ALTER DATABASE {self._database} ALLOW_CONNECTIONS true"):
            self._reopen_at = None

    def _order(self, *statements: str) -> bool:
        """Tell the server; False while it recovers from a crash."""
        assert self._postgres is not None
        try:
            for statement in statements:
                self._postgres.execute(statement)
        except psycopg.OperationalError:
            return False
        return True
