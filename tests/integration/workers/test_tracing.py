"""Traces reach a collector as one trace for each task, and hold nothing that is private."""

import asyncio
import http.server
import re
import threading
from contextlib import closing, contextmanager

import pytest
from celery import Celery
from sqlalchemy import text

from dispatcher.outbound.transport import HttpClient
from dispatcher.store.engine import Store
from dispatcher.types import HttpRequest
from workers.tracing.wanted import are_traces_wanted, trace_if_wanted

NUMBER, SECRET = "919820011223", "the-key-of-a-test"


@contextmanager
def http_server():
    """A server on this machine, and the requests that it got: path, headers and body."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_traces_are_wanted_where_the_standard_variables_say_so(environ, wanted):
    assert are_traces_wanted(environ) is wanted


def test_without_the_variables_nothing_is_traced(sqlite_url, monkeypatch, caplog):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with closing(Store(sqlite_url)) as store:
        trace_if_wanted(store, frozenset())
    assert caplog.text == ""


@pytest.fixture
def tracing(sqlite_url, monkeypatch):
    """A store that is traced, the provider of spans, and what the collector got."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra `telemetry` is not installed")
    from opentelemetry import propagate
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    from workers.tracing.start import start_tracing

    former = propagate.get_global_textmap()
    with http_server() as (url, got), closing(Store(sqlite_url)) as store:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        provider = start_tracing(store, frozenset({SECRET}))
        yield store, provider, got
        for each in (AioHttpClientInstrumentor, CeleryInstrumentor, SQLAlchemyInstrumentor):
            each().uninstrument()
        propagate.set_global_textmap(former)
        provider.shutdown()


def send_request(base_url, *, times=1):
    """A request as to a provider, some times over one connection, from a loop of its own."""

    async def send():
        async with HttpClient(connections=1) as client:
            url = f"{base_url}/send/{NUMBER}?key={SECRET}"
            request = HttpRequest(method="POST", url=url, body=b"text", headers={})
            for _ in range(times):
                await client.send(request, timeout_s=5)

    asyncio.run(send())


def spans_of(got):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for path, _headers, body in got:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans


def test_a_task_its_statements_and_its_request_are_one_trace_without_anything_private(tracing):
    store, provider, got = tracing
    app = Celery("traced", broker="memory://", set_as_current=False)

    @app.task(name="dispatcher.submit")
    def submit_one(base_url):
        with store.write() as conn:
            conn.execute(text("SELECT :number"), {"number": int(NUMBER)})
        send_request(base_url)
        raise ValueError(f"{NUMBER} has {SECRET}")

    with http_server() as (base_url, asked):
        submit_one.apply((base_url,))
    provider.force_flush()
    spans = [*spans_of(got)]
    names = [span.name for span in spans]
    assert "run/dispatcher.submit" in names
    assert "POST" in names
    assert any(name.startswith("SELECT") for name in names)
    assert len({span.trace_id for span in spans}) == 1
    (request,) = [span for span in spans if span.name == "POST"]
    shown = {one.key: one.value.string_value for one in request.attributes}
    assert shown["http.url"] == f"{base_url}/send/9198••••1223"
    everything = b"".join(body for _path, _headers, body in got).decode("utf-8", "replace")
    assert not re.search(rf"{NUMBER}|{SECRET}|key=|Traceback", everything)
    (_path, headers, _body), = asked  # fmt: skip
    assert not {name.lower() for name in headers} & {"traceparent", "tracestate", "baggage"}


def test_requests_over_a_kept_connection_are_traced_too(tracing):
    _store, provider, got = tracing
    with http_server() as (base_url, _asked):
        send_request(base_url, times=3)
    provider.force_flush()
    assert [span.name for span in spans_of(got)].count("POST") == 3
