"""What leaves this process of a span: no text, number, key, query string or message of an error."""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from dispatcher.logs.masking import MaskingFilter

#: Attributes that are sent; of a statement its text, which has places for values, not values.
_SENT: Final = frozenset(
    {
        "celery.action", "celery.hostname", "celery.state", "celery.task_name", "db.query.text",
        "db.statement", "db.system", "db.system.name", "error.type", "exception.type",
        "http.method", "http.request.method", "http.response.status_code", "http.status_code",
        "http.url", "messaging.destination", "messaging.message.id", "server.address",
        "server.port", "url.full",
    }
)  # fmt: skip


class PrivateExporter(SpanExporter):
    """Hands spans to another exporter, with what may be known outside."""

    def __init__(self, exporter: SpanExporter, secrets: frozenset[str]) -> None:
        self._exporter = exporter
        self._mask = MaskingFilter(secrets).mask_text

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send copies of the spans."""
        return self._exporter.export([self._copy_span(span) for span in spans])

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    def _copy_span(self, span: ReadableSpan) -> ReadableSpan:
        events = [
            Event(event.name, self._keep_known(event.attributes), event.timestamp)
            for event in span.events
        ]
        return ReadableSpan(
            name=self._mask(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._keep_known(span.attributes),
            events=events,
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _keep_known(self, attributes: object) -> dict[str, str]:
        given = dict(attributes) if isinstance(attributes, Mapping) else {}
        return {name: self._mask(str(given[name])) for name in _SENT & given.keys()}
