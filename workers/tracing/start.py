"""Starts tracing: the libraries' own instrumentations, and an exporter of the standard protocol."""

import os

from opentelemetry import context, propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.propagators.textmap import CarrierT, Setter, default_setter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from yarl import URL

from dispatcher.store.engine import Store
from workers.tracing.private_spans import PrivateExporter


class _OwnMessagesOnly(TraceContextTextMapPropagator):
    """Says the trace in Celery's messages, whose headers are a dict; never to a provider."""

    def inject(
        self,
        carrier: CarrierT,
        context: context.Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Add the trace to headers of our own."""
        if isinstance(carrier, dict):
            super().inject(carrier, context, setter)


def start_tracing(store: Store, secrets: frozenset[str]) -> TracerProvider:
    """Trace tasks, requests and statements, and send the traces where OTEL_* says.

    Spans are sent by a thread of their own, which drops them where the collector is away.
    """
    provider = TracerProvider(resource=Resource.create(_service()))
    provider.add_span_processor(BatchSpanProcessor(PrivateExporter(OTLPSpanExporter(), secrets)))
    propagate.set_global_textmap(_OwnMessagesOnly())
    CeleryInstrumentor().instrument(tracer_provider=provider)
    AioHttpClientInstrumentor().instrument(tracer_provider=provider, url_filter=_show_url)
    # It does not know version 2.1 of SQLAlchemy yet, and uses nothing of it that has changed.
    SQLAlchemyInstrumentor().instrument(
        engine=store.engine, tracer_provider=provider, skip_dep_check=True
    )
    return provider


def _service() -> dict[str, str]:
    """The name of the service, unless the environment has one."""
    named = "OTEL_SERVICE_NAME" in os.environ
    named |= "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if named else {"service.name": "sms-dispatcher"}


def _show_url(url: URL) -> str:
    return str(url.with_user(None).with_query(None).with_fragment(None))
