"""Whether traces are wanted. Imports nothing of OpenTelemetry, which most workers do not have."""

import logging
import os
from collections.abc import Mapping
from typing import Final

from dispatcher.logs.events import LogEvent, log_event
from dispatcher.store.engine import Store

log = logging.getLogger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def are_traces_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, or the exporter `otlp`."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER")
    if exporters is not None:
        return "otlp" in exporters.split(",")
    return any(environ.get(name) for name in _ENDPOINTS)


def trace_if_wanted(store: Store, secrets: frozenset[str]) -> None:
    """Trace this process. What keeps it from that is logged: sending does not wait for it."""
    if not are_traces_wanted(os.environ):
        return
    try:
        from workers.tracing.start import start_tracing
    except ImportError:
        words = "there are no traces: install the extra `sms-dispatcher[telemetry]`"
        log_event(log, LogEvent.TRACES_NOT_SENT, words)
        return
    start_tracing(store, secrets)
    log_event(log, LogEvent.TRACES_SENT, "traces of this worker are sent")
