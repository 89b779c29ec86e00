"""Celery's consumer in a worker: it outlives messages that Celery cannot take, and refusals."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer

from workers.broker.celery_broker import CONNECTION_ERRORS, dropped_messages

log = logging.getLogger(__name__)

#: Between two tries with a broker that answers, but refuses.
_REFUSED_PAUSE_S: Final = 1.0


class PatientConsumer(Consumer):
    """A consumer that no message and no refusal of the broker ends.

    With `broker_channel_error_retry` Celery reconnects after a refusal, without a pause.
    """

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Any], None]:
        """The function that takes each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def take_message(message: Any) -> None:
            try:
                handle(message)
            except CONNECTION_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - Celery would end the worker
                dropped_messages.note_drop("tasks", f"error {type(error).__name__}")
                message.ack_log_error(log, self.connection_errors)

        return take_message

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log, and wait."""
        super().on_connection_error_before_connected(exc)
        time.sleep(_REFUSED_PAUSE_S)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log, and wait where the broker answers."""
        super().on_connection_error_after_connected(exc)
        if not isinstance(exc, OSError):
            time.sleep(_REFUSED_PAUSE_S)
