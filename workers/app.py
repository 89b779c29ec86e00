"""The Celery app: queues and settings. What the tasks do stands in their own modules."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from kombu import Queue
from kombu.exceptions import OperationalError

from dispatcher.local.celery import threads_needed
from workers.log_filter import DedupFilter, log_expected_errors
from workers.settings import get_broker_url, get_settings

if TYPE_CHECKING:
    from dispatcher.store.batches import Ticket
    from dispatcher.store.doubts import ReconcileTicket
    from dispatcher.store.health import ProbeTicket
    from dispatcher.store.polls import PollTicket

log = logging.getLogger(__name__)

# Flower's own default is every address and no password. It is Flower that reads this, after the
# app is made; its options and its configuration file outweigh it.
if "FLOWER_BASIC_AUTH" not in os.environ:
    os.environ.setdefault("FLOWER_ADDRESS", "127.0.0.1")

SCHEDULER_QUEUE = "scheduler"
POLL_QUEUE = "polls"
RECONCILE_QUEUE = "reconcile"
TICK = "dispatcher.tick"
SUBMIT = "dispatcher.submit"
POLL = "dispatcher.poll"
RECONCILE = "dispatcher.reconcile"
PROBE = "dispatcher.check"

_TASKS = (
    "workers.tasks.tick",
    "workers.tasks.submit",
    "workers.tasks.poll",
    "workers.tasks.reconcile",
    "workers.tasks.probe",
)
_TICK_EVERY_S = 1.0
#: A tick that waited longer is dropped. Not sooner: with beat's clock some seconds slow, every
#: tick would be.
_TICK_EXPIRES_S = 30
_BROKER_TIMEOUT_S = 5
#: A thread that comes back from the store or the network waits so long for one that computes. With
#: Python's 5 ms the store's only writer does so after each of its statements.
_SWITCH_INTERVAL_S = 0.0005


def submit_queue(account: str) -> str:
    """The queue of an account: one each, so that no account waits behind another."""
    return f"submit.{account}"


app = Celery("dispatcher", amqp="workers.celery_broker:BrokerAMQP", set_as_current=True)
app.conf.update(
    broker_url=get_broker_url(),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        # A broker that goes without a word (a failover, a firewall) is noticed within seconds.
        "socket_timeout": _BROKER_TIMEOUT_S,
        "socket_connect_timeout": _BROKER_TIMEOUT_S,
        "health_check_interval": _BROKER_TIMEOUT_S,
    },
    worker_pool="threads",
    worker_concurrency=threads_needed(get_settings()),
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_soft_shutdown_timeout=0,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=True,
    task_send_sent_event=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    timezone="UTC",
    task_create_missing_queues=True,
    task_default_queue=SCHEDULER_QUEUE,
    task_queues=[
        Queue(SCHEDULER_QUEUE),
        Queue(POLL_QUEUE),
        Queue(RECONCILE_QUEUE),
        *(Queue(submit_queue(name)) for name in get_settings().accounts),
    ],
    beat_schedule={
        "tick": {
            "task": TICK,
            "schedule": _TICK_EVERY_S,
            "options": {"queue": SCHEDULER_QUEUE, "expires": _TICK_EXPIRES_S},
        }
    },
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=1,
)


#: What a broker that is away, or full, may raise.
_BROKER_ERRORS = (*app.connection().connection_errors, *app.connection().channel_errors)


def publish_batches(tickets: list["Ticket"]) -> None:
    """Hand released batches to their account's queue.

    What the broker does not take goes back, to be released once it is there again; what it loses
    the sweep finds.
    """
    done = _send_tasks(SUBMIT, [([t.id, t.fence], submit_queue(t.account)) for t in tickets])
    if done < len(tickets):
        from dispatcher.store import batches
        from workers.services import get_services

        with log_expected_errors(log, "released batches"), get_services().store.write() as conn:
            batches.return_queued(conn, tickets[done:])


def publish_polls(tickets: list["PollTicket"]) -> None:
    """Hand out due polls."""
    _send_tasks(POLL, [([t.id, t.polls], POLL_QUEUE) for t in tickets])


def publish_reconciles(tickets: list["ReconcileTicket"]) -> None:
    """Hand out accounts whose doubts are due."""
    _send_tasks(RECONCILE, [([t.account, t.number], RECONCILE_QUEUE) for t in tickets])


def publish_probes(tickets: list["ProbeTicket"]) -> None:
    """Hand out accounts to look at: in their own place, which is free as long as they wait."""
    _send_tasks(PROBE, [([t.account, t.number], submit_queue(t.account)) for t in tickets])


def _send_tasks(task: str, messages: Sequence[tuple[Sequence[int | str], str]]) -> int:
    """Publish arguments to queues; how many the broker took.

    One that is away is asked once, not once a message.
    """
    for done, (args, queue) in enumerate(messages):
        try:
            app.send_task(task, args, queue=queue, retry=False)
        except (OperationalError, *_BROKER_ERRORS) as error:
            left = len(messages) - done
            log.warning("the broker did not take %d messages: %s", left, type(error).__name__)
            return done
    return len(messages)


@signals.celeryd_init.connect
def _import_tasks(**_: Any) -> None:
    """Only a worker needs them, and what they need: beat and Flower know them by name."""
    for module in _TASKS:
        app.loader.import_task_module(module)


@signals.worker_init.connect
def _shorten_switch_interval(**_: Any) -> None:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


@signals.worker_ready.connect
def _start_services(**_: Any) -> None:
    from workers.services import get_services
    from workers.watchdog import get_watchdog

    get_services().runtime.open_session()
    get_services().leases.start()
    get_watchdog().start()


@signals.task_received.connect
def _note_received_task(**_: Any) -> None:
    from workers.watchdog import get_watchdog

    get_watchdog().note_received_task()


@signals.worker_shutting_down.connect
def _start_stopping(**_: Any) -> None:
    """Waiting tasks hand back what has not left; those at the provider finish."""
    from workers.services import get_services

    get_services().stopping.set()


@signals.worker_shutdown.connect
def _close_services(**_: Any) -> None:
    from workers.services import get_services

    get_services().runtime.close()
    get_services().leases.stop()


@signals.after_setup_logger.connect
def _filter_logs(logger: logging.Logger, **_: Any) -> None:
    """A line per tick and second would hide what matters."""
    for handler in logger.handlers:
        handler.addFilter(DedupFilter())
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)
