"""What most people would write first: Celery tasks over ORM objects. A peer to compare with.

No proof against crashes, no rate, no windows. Its worker is started by `peers.py`, which sets the
environment: NAIVE_BROKER, NAIVE_STORE, NAIVE_PROVIDER.
"""

import json
import os
from http.client import HTTPConnection
from threading import local
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, Task, signals
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dispatcher.providers import provider_class
from dispatcher.status import Encoding, Kind
from dispatcher.types import Recipient, Route, SubmitBatch

SIZE = 2000
KEY = "the-key-of-a-peer"
_PROVIDER = os.environ.get("NAIVE_PROVIDER", "http://127.0.0.1:9")
_HEADERS = {"key": KEY, "Accept": "application/json", "Content-Type": "application/json"}
_ROUTE = {"sender_id": "7", "template_id": "1107", "channel": "1", "is_unicode": "0"}
_connections = local()

app = Celery("naive", broker=os.environ.get("NAIVE_BROKER", "memory://"))
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=1, worker_redirect_stdouts=False
)


@signals.worker_ready.connect
def _say_so(**_: object) -> None:
    print("ready", flush=True)


class Base(DeclarativeBase):
    """The tables."""


class Message(Base):
    """A recipient."""

    __tablename__ = "naive_message"

    id: Mapped[int] = mapped_column(primary_key=True)
    msisdn: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(default="pending")
    provider_id: Mapped[str | None]


def open_engine(url: str) -> Any:
    """The engine of a store. SQLite waits for its one writer, and keeps a write-ahead log."""
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


_engine = open_engine(os.environ.get("NAIVE_STORE", "sqlite://"))


def _post(url: str, body: bytes, headers: dict[str, str]) -> Any:
    parts = urlsplit(url)
    if not hasattr(_connections, "http"):
        _connections.http = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    _connections.http.request("POST", parts.path, body, headers)
    answer = _connections.http.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    return found


@app.task(name="naive.batch")
def send_batch(first: int) -> None:
    """Submit `SIZE` recipients by one request, and store their ids as objects."""
    with Session(_engine, expire_on_commit=False) as session:
        query = select(Message).where(Message.id >= first, Message.id < first + SIZE)
        messages = {each.msisdn: each for each in session.scalars(query)}
        session.commit()
        people = [
            {"number": number, "text": f"Dear {each.name}, your parcel is at the counter."}
            for number, each in messages.items()
        ]
        body = json.dumps({"recipient": json.dumps(people), **_ROUTE}).encode()
        data = _post(f"{_PROVIDER}/send-bulk-sms", body, _HEADERS)["data"]
        for entry in data["MessageData"]:
            message = messages[entry["Number"]]
            message.state, message.provider_id = "submitted", entry["message_id"]
        session.commit()
    poll_job.apply_async((first, data["JobId"]), countdown=1)


@app.task(name="naive.poll", bind=True, max_retries=None)
def poll_job(self: "Task[Any, Any]", first: int, job: str) -> None:
    """Store the receipts of a job, or try again in a second."""
    body = json.dumps({"job_id": job}).encode()
    data = _post(f"{_PROVIDER}/sms-delivery-status", body, _HEADERS)["data"]
    if any(entry["status_name"] == "Sent" for entry in data):
        raise self.retry(countdown=1)
    with Session(_engine) as session:
        query = select(Message).where(Message.id >= first, Message.id < first + SIZE)
        messages = {each.msisdn: each for each in session.scalars(query)}
        for entry in data:
            messages[entry["mobile_number"]].state = entry["status_name"].lower()
        session.commit()


@app.task(name="naive.one")
def send_one(message_id: int) -> None:
    """Submit one recipient, and store the answer."""
    with Session(_engine, expire_on_commit=False) as session:
        message = session.get_one(Message, message_id)
        session.commit()
        request = _requests_of(message)
        answer = _post(request.url, request.body or b"", dict(request.headers))
        message.state, message.provider_id = "submitted", str(answer)[:40]
        session.commit()


def _requests_of(message: Message) -> Any:
    made = provider_class("smsnoc")
    adapter = made(made.settings_type(provider="smsnoc", base_url=_PROVIDER, api_token=KEY))
    text = f"Your order {message.name} is ready."
    batch = SubmitBatch(
        recipients=[Recipient(0, int(message.msisdn), text)],
        encoding=Encoding.GSM7, kind=Kind.TRANSACTIONAL, route=Route(sender="SENDER"),
    )  # fmt: skip
    return next(iter(adapter.submit_requests(batch))).http
