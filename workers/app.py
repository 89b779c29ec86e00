"""The Celery app: queues and settings. What the tasks do stands in their own modules."""

import logging
from typing import Any

from celery import Celery, signals
from celery.app.amqp import AMQP
from kombu import Connection, Queue

from dispatcher.processes import threads_needed
from dispatcher.store.batches import Ticket
from dispatcher.store.polls import PollTicket
from workers.services import broker_url, services, settings

log = logging.getLogger(__name__)

SCHEDULER_QUEUE = "scheduler"
POLL_QUEUE = "polls"
TICK = "dispatcher.tick"
SUBMIT = "dispatcher.submit"
POLL = "dispatcher.poll"

_TICK_EVERY_S = 1.0
#: A tick that waited longer is dropped. Not sooner: with beat's clock some seconds slow, every
#: tick would be.
_TICK_EXPIRES_S = 30
#: Celery's own reconnect waits grow to 30 s, and no setting reaches them.
_RECONNECT_MAX_S = 2


def submit_queue(account: str) -> str:
    """The queue of an account: one each, so that no account waits behind another."""
    return f"submit.{account}"


class _QuickConnection(Connection):
    """A broker connection that tries again every two seconds at the latest."""

    def _ensure_connection(
        self,
        errback: Any = None,
        max_retries: int | None = None,
        interval_start: float = 0.2,
        interval_step: float = 0.5,
        interval_max: float = _RECONNECT_MAX_S,
        **rest: Any,
    ) -> Any:
        return super()._ensure_connection(
            errback, max_retries, interval_start, interval_step, interval_max, **rest
        )


class _QuickAMQP(AMQP):
    """Makes Celery use quick connections."""

    Connection = _QuickConnection


app = Celery("dispatcher", amqp="workers.app:_QuickAMQP", set_as_current=True)
app.conf.update(
    broker_url=broker_url(),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"unacked_restore_interval": 2, "unacked_restore_throttle": 1},
    worker_pool="threads",
    worker_concurrency=threads_needed(settings()),
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
        *(Queue(submit_queue(name)) for name in settings().accounts),
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
    imports=("workers.tick", "workers.submitting", "workers.polling"),
)


def publish(tickets: list[Ticket]) -> None:
    """Hand released batches to their account's queue. What is lost here the sweep finds."""
    for ticket in tickets:
        _send(SUBMIT, [ticket.id, ticket.fence], submit_queue(ticket.account))


def publish_polls(tickets: list[PollTicket]) -> None:
    """Hand out due polls."""
    for ticket in tickets:
        _send(POLL, [ticket.id, ticket.polls], POLL_QUEUE)


def _send(task: str, args: list[int], queue: str) -> None:
    try:
        app.send_task(task, args, queue=queue, retry=False)
    except app.connection_for_write().connection_errors as error:
        log.warning("the broker did not take a message: %s", type(error).__name__)


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    services().leases.start()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Waiting tasks hand back what has not left; those at the provider finish."""
    services().stopping.set()


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    services().runtime.close()
    services().leases.stop()


@signals.after_setup_logger.connect
def _quiet(**_: Any) -> None:
    """A line per tick and second would hide what matters."""
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)
