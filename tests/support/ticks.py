"""The scheduler's tick in this process, with a Redis of our own, for what needs no Celery."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta

import fakeredis

from dispatcher.config.settings import load_settings
from dispatcher.recovery.broker_owner import BrokerOwner
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.recovery.spill import open_spill
from dispatcher.store import scheduler
from dispatcher.store.tables import SCHEDULER
from tests.support.presence import known_worker
from workers.drain import DrainGate
from workers.http.pace import Paces
from workers.leases import Leases
from workers.release_clock import ReleaseClock
from workers.services import Services
from workers.settings import get_settings


class Ticker:
    """`Ticker(store, folder)` has one account, or several; `tick()` is one look at the store."""

    def __init__(self, store, folder, *, accounts=("main",)):
        config = folder / "dispatcher.toml"
        config.touch(mode=0o600)
        config.write_text(
            '[broker]\nurl = "redis://127.0.0.1:9"\n'
            + "".join(
                f'[accounts.{name}]\nprovider = "thesmspoint"\napi_key = "a-key-of-a-test"\n'
                'sender = "SENDER"\ntemplate = "TEMPLATE"\ncountry = "IN"\n'
                for name in accounts
            )
        )
        self._tick = _imported(config)
        client = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
        self._store = store
        self.services = Services(
            settings=load_settings(config, {}),
            store=store,
            runtime=None,
            leases=Leases(store, lease_s=60, presence=known_worker(), concurrency=1),
            rollback_guard=RollbackGuard(store, client=client),
            broker_owner=BrokerOwner(store, client),
            spill=open_spill(store, folder),
            release_clock=ReleaseClock(),
            paces=Paces(known_worker()),
            reader=None,
            gate=DrainGate(most=8),
            stopping=threading.Event(),
        )

    def tick(self):
        """One tick, as if the last had been a second ago; the seconds that it took."""
        with self._store.write() as conn:
            if scheduler.last_tick_at(conn) is not None:
                before = datetime.now(UTC) - timedelta(seconds=1)
                conn.execute(SCHEDULER.update().values(ticked_at=before))
        started = time.perf_counter()
        self._tick(self.services)
        return time.perf_counter() - started


def _imported(config):
    """The tick. The Celery app around it reads its configuration when it is imported."""
    before = os.environ.get("DISPATCHER_CONFIG")
    os.environ["DISPATCHER_CONFIG"] = str(config)
    try:
        from workers.tasks.tick import run_tick
    finally:
        get_settings.cache_clear()
        if before is None:
            del os.environ["DISPATCHER_CONFIG"]
        else:
            os.environ["DISPATCHER_CONFIG"] = before
    return run_tick
