"""The Celery app: its settings, its queues, and publishing to them. Tasks are in `tasks/`."""

import gc
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celery import Celery, signals
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from dispatcher.config.sentinel_urls import kombu_url, transport_options
from dispatcher.errors import StoreError
from dispatcher.local.broker_tls import celery_tls_options
from dispatcher.local.celery import threads_needed
from dispatcher.local.life_signs import get_life_signs
from dispatcher.local.signals import end_by_sigterm_from_now
from dispatcher.logs.events import LogEvent, log_event
from workers.broker import shown_tasks
from workers.broker.task_messages import (
    POLL,
    POLL_QUEUE,
    PROBE,
    RECHECK,
    RECONCILE,
    RECONCILE_QUEUE,
    SCHEDULER_QUEUE,
    SUBMIT,
    TICK,
    submit_queue,
)
from workers.log_filter import log_expected_errors, set_up_flower_logs
from workers.settings import get_broker_url, get_settings, set_flower_defaults

if TYPE_CHECKING:
    from dispatcher.store.doubts import ReconcileTicket
    from dispatcher.store.health import ProbeTicket
    from dispatcher.store.polls import PollTicket
    from dispatcher.store.rechecks import RecheckTicket
    from dispatcher.store.tickets import Ticket
    from workers.services import Services

log = logging.getLogger(__name__)

end_by_sigterm_from_now()  # until Celery listens itself
set_flower_defaults()
set_up_flower_logs(sys.argv)

_TASKS = (
    "workers.tasks.tick",
    "workers.tasks.submit",
    "workers.tasks.poll",
    "workers.tasks.reconcile",
    "workers.tasks.probe",
    "workers.tasks.recheck",
)
_TICK_EVERY_S = 1.0
#: A tick that waited longer is dropped. Beat's clock says when it was sent, and a worker's how late
#: it is: with 30 s, workers drop every tick of a beat that is half a minute behind them.
_TICK_EXPIRES_S = 300
_BROKER_TIMEOUT_S = 5
#: How long a worker that starts waits for `dispatcher db upgrade`, and for a store that is away.
_WAIT_FOR_TABLES_S = 300.0
#: How long a thread that computes may keep Python's lock. With the default of 5 ms, the store's
#: only writer would wait that long after each of its statements.
_SWITCH_INTERVAL_S = 0.0005
#: New objects after which Python looks for cycles among them: a few batches with their answers.
#: With its default of 700 a fifth of a worker's time went into looking, and it found nothing.
_OBJECTS_PER_COLLECTION = 50_000


app = Celery("dispatcher", amqp="workers.broker.celery_broker:BrokerAMQP", set_as_current=True)
app.conf.update(
    broker_url=kombu_url(get_broker_url()),
    broker_use_ssl=celery_tls_options(get_broker_url()) or False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A replica after a failover, full memory: Celery would end the worker.
    broker_channel_error_retry=True,
    broker_transport_options={
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        # A broker that vanishes silently (failover, firewall) is detected within seconds.
        "socket_timeout": _BROKER_TIMEOUT_S,
        "socket_connect_timeout": _BROKER_TIMEOUT_S,
        "health_check_interval": _BROKER_TIMEOUT_S,
        **transport_options(get_broker_url(), celery_tls_options(get_broker_url())),
    },
    worker_pool="threads",
    worker_consumer="workers.broker.celery_consumer:PatientConsumer",
    worker_concurrency=threads_needed(get_settings()),
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_soft_shutdown_timeout=0,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=True,
    # After an outage each connection of the pool fails once more.
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.0, "interval_max": 0.0},
    task_send_sent_event=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    timezone="UTC",
    task_create_missing_queues=False,
    task_default_queue=SCHEDULER_QUEUE,
    task_queues=[
        Queue(name, Exchange("dispatcher", "direct"), routing_key=name)
        for name in (
            SCHEDULER_QUEUE,
            POLL_QUEUE,
            RECONCILE_QUEUE,
            *map(submit_queue, get_settings().accounts),
        )
    ],
    beat_schedule={
        "tick": {
            "task": TICK,
            "schedule": _TICK_EVERY_S,
            "options": {"queue": SCHEDULER_QUEUE, "expires": _TICK_EXPIRES_S},
        }
    },
    beat_scheduler="workers.beat:LiveScheduler",
    beat_max_loop_interval=1,
)


#: Raised where the broker is away or full.
_BROKER_ERRORS: tuple[type[Exception], ...] = (
    OperationalError,
    *app.connection().connection_errors,
    *app.connection().channel_errors,
)


def publish_batches(tickets: list["Ticket"]) -> None:
    """Publish released batches to the queues of their accounts.

    Batches that the broker does not take become pending again, and those of accounts that are not
    configured here, which have no queue. The sweep finds those that the broker loses.
    """
    known = [t for t in tickets if t.account in get_settings().accounts]
    taken = _send_tasks(SUBMIT, [shown_tasks.submit_message(t) for t in known])
    left = [*known[taken:], *(t for t in tickets if t.account not in get_settings().accounts)]
    if left:
        from workers.services import get_services

        return_batches(get_services(), left)


def return_batches(services: "Services", tickets: list["Ticket"]) -> None:
    """Make released batches pending again. While the store is busy or away this waits a while."""
    from dispatcher.store.tickets import return_queued
    from workers.batch.durable_write import write_patiently

    unused = [(ticket.id, ticket.fence) for ticket in tickets]
    with log_expected_errors(log, LogEvent.RELEASE_NOT_RETURNED, "released batches"):
        write_patiently(
            services,
            lambda conn, _now: return_queued(conn, unused),
            within_s=services.settings.worker.requeue_after_s,
        )


def publish_polls(tickets: list["PollTicket"]) -> None:
    """Publish due polls."""
    _send_tasks(POLL, [shown_tasks.poll_message(t) for t in tickets])


def publish_reconciles(tickets: list["ReconcileTicket"]) -> None:
    """Publish accounts that have doubts due."""
    _send_tasks(RECONCILE, [shown_tasks.reconcile_message(t) for t in tickets])


def publish_probes(tickets: list["ProbeTicket"]) -> None:
    """Publish accounts to probe, to their own queues: the slots of such an account are free."""
    known = [t for t in tickets if t.account in get_settings().accounts]
    _send_tasks(PROBE, [shown_tasks.probe_message(t) for t in known])


def publish_rechecks(tickets: list["RecheckTicket"]) -> None:
    """Publish campaigns to check before their first batch, to the queues of their accounts."""
    known = [t for t in tickets if t.account in get_settings().accounts]
    _send_tasks(RECHECK, [shown_tasks.recheck_message(t) for t in known])


def _send_tasks(task: str, messages: Sequence[shown_tasks.TaskMessage]) -> int:
    """Publish messages up to the first that the broker does not take. Returns how many it took."""
    for done, (args, queue, shown) in enumerate(messages):
        try:
            app.send_task(task, args, queue=queue, retry=True, argsrepr=shown)
        except _BROKER_ERRORS as error:
            left = len(messages) - done
            words = "the broker did not take %d messages: %s"
            log_event(log, LogEvent.BROKER_REFUSED, words, left, type(error).__name__)
            return done
    return len(messages)


@signals.celeryd_init.connect
def _import_tasks(**_: object) -> None:
    """Import the tasks in a worker only: beat and Flower need just their names."""
    for module in _TASKS:
        app.loader.import_task_module(module)


@signals.beat_init.connect
def _make_beat_ready(**_: object) -> None:
    """Beat sends ticks only, whose events would be most of what Flower keeps and shows."""
    app.conf.task_send_sent_event = False
    get_life_signs().send_ready()


@signals.worker_init.connect
def _shorten_switch_interval(**_: object) -> None:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


@signals.worker_init.connect
def _wait_for_tables(**_: object) -> None:
    """End this worker if it cannot use the store's tables. Waits while they are being upgraded."""
    from dispatcher.store.migrate import UPGRADE, revision_problem
    from workers.services import get_services

    give_up_at = time.monotonic() + _WAIT_FOR_TABLES_S
    problem: str | None = "the store's tables are not known"
    while problem is not None:
        try:
            problem, remedy = revision_problem(get_services().store), UPGRADE
        except StoreError as error:
            problem, remedy = error.message, error.hint or ""
        if problem is not None:
            log_event(log, LogEvent.WORKER_WAITS, "this worker waits: %s; %s", problem, remedy)
            if time.monotonic() > give_up_at:
                words = "this worker does not start: %s; %s"
                log_event(log, LogEvent.WORKER_NOT_STARTED, words, problem, remedy)
                raise SystemExit(os.EX_CONFIG)
            time.sleep(1)


@signals.worker_init.connect
def _refuse_database_of_another_store(**_: object) -> None:
    """End this worker if it would take another store's work. Waits while the store is away."""
    from dispatcher.recovery.broker_owner import OWNER_REMEDY, OWNER_TTL_S
    from workers.services import get_services

    give_up_at = time.monotonic() + OWNER_TTL_S + 5
    words = "the owner of the Redis database is not known"
    with log_expected_errors(log, LogEvent.OWNER_UNKNOWN, words):
        while (problem := get_services().broker_owner.find_problem()) is not None:
            if time.monotonic() > give_up_at:
                words = "this worker does not start: %s; %s"
                log_event(log, LogEvent.WORKER_NOT_STARTED, words, problem, OWNER_REMEDY)
                raise SystemExit(os.EX_CONFIG)
            time.sleep(1)


@signals.worker_ready.connect
def _start_services(**_: object) -> None:
    from workers.meters import serve_meters
    from workers.services import get_services
    from workers.tracing.wanted import trace_if_wanted
    from workers.watchdog import get_watchdog

    trace_if_wanted(get_services().store, get_settings().secret_values())
    get_services().runtime.open_session()
    serve_meters(get_settings().worker, get_services().runtime)
    get_services().leases.start()
    get_watchdog().start()
    get_life_signs().send_ready()


@signals.worker_ready.connect
def look_rarely_for_cycles(**_: object) -> None:
    """What exists once a worker is ready stays for its life: it is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)


@signals.task_received.connect
def _note_received_task(**_: object) -> None:
    from workers.watchdog import get_watchdog

    get_watchdog().note_received_task()


@signals.worker_shutting_down.connect
def _start_stopping(**_: object) -> None:
    """Tell tasks to end: waiting ones hand their batch back, requests in flight finish."""
    from workers.services import get_services

    get_services().stopping.set()
    get_life_signs().send_stopping()


@signals.worker_shutdown.connect
def _close_services(**_: object) -> None:
    from workers.meters import stop_server
    from workers.services import get_services

    get_services().runtime.close()
    stop_server()
    get_services().leases.stop()
