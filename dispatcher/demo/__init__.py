"""The demo: a whole campaign on this machine, from a recipient file to receipts; nothing is sent.

Everything is in one temporary folder, which is removed at the end.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from dispatcher.campaigns.content import Content
from dispatcher.campaigns.view import CampaignView, load_view
from dispatcher.config.settings import Settings, load_settings
from dispatcher.errors import DispatcherError
from dispatcher.local import celery
from dispatcher.local.broker import EmbeddedBroker
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.outbound.transport import fetch_once
from dispatcher.providers import provider_class
from dispatcher.recipients.preview import Preview
from dispatcher.status import Encoding
from dispatcher.store import campaign_search
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.submission import acceptance, campaign_import, validation
from dispatcher.submission.request import SubmissionRequest
from dispatcher.types import Directory

ACCOUNT = "demo"
TEXT = "Dear {{Name|customer}}, your order {{Order}} is ready in {{City|our shop}}. Thank you!"
PEOPLE = Path(__file__).with_name("india-5000.csv")

_SEED = 7
#: Receipts come after 0.2 to 3 s instead of up to 30 s.
_SCALE = 10
_LONGEST_S = 90.0
_CONFIG = """
[store]
url = "sqlite:///demo.db"
[accounts.demo]
provider = "thesmspoint"
base_url = "{base_url}"
api_key = "demo-key"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
messages_per_second = 1000
poll_first_s = 1
poll_max_s = 3
# How long a missing receipt is waited for; real accounts wait for days.
validity_hours = 0.003
"""


class LedgerEntry(TypedDict):
    """What the demo reads of an entry in the simulator's ledger; `at` is a Unix time in seconds."""

    number: str
    at: float


class Demo:
    """A running demo with its processes; `log` holds the lines that they printed."""

    def __init__(self, folder: Path, supervisor: Supervisor, log: list[str]) -> None:
        self.folder = folder
        self.log = log
        self._began = time.monotonic()
        self._began_at = time.time()
        self.flower_url: str | None = None
        self._supervisor = supervisor

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo was started."""
        return time.monotonic() - self._began

    def wait_until(self, until: Callable[[], bool], what: str) -> None:
        """Run the processes until `until` is true. Raises DispatcherError after 90 s."""
        give_up = time.monotonic() + _LONGEST_S
        if not self._supervisor.run_until(lambda: until() or time.monotonic() > give_up):
            raise KeyboardInterrupt
        if not until():
            said = "".join(f"\n  {line}" for line in self.log[-15:])
            raise DispatcherError(
                f"the demo waited {_LONGEST_S:.0f} s for {what}; its last lines:{said}"
            )

    def run_campaign(
        self, *, flower: bool, show: Callable[[CampaignView], None]
    ) -> tuple[CampaignView, Preview]:
        """Start everything, submit the file, and call `show` with the campaign until it ends."""
        settings = self._start_processes(flower=flower)
        store = Store(settings.store.url)
        reference, preview = _submit_people(store, settings)

        def is_over() -> bool:
            view = load_view(store, reference)
            show(view)
            return view.is_over

        self.wait_until(is_over, "the campaign's end")
        return load_view(store, reference), preview

    def batch_rows(self, view: CampaignView) -> list[tuple[object, ...]]:
        """Number, encoding, size and results of each batch."""
        store = Store(f"sqlite:///{self.folder}/demo.db")
        with store.read() as conn:
            rows = campaign_search.list_batches(conn, view.campaign.id)
        return [
            (
                b.seq + 1, Encoding(b.encoding).label, b.size, b.delivered, b.undelivered,
                b.expired, b.submitted,
            )
            for b in rows
        ]  # fmt: skip

    def first_batch_after_s(self) -> float:
        """Seconds until the provider had accepted the first batch."""
        return self.read_ledger()[0]["at"] - self._began_at

    def read_ledger(self) -> list[LedgerEntry]:
        """What the simulated provider accepted, one entry per recipient."""
        lines = (self.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def _start_processes(self, *, flower: bool) -> Settings:
        simulator = [sys.executable, "-m", "dispatcher", "simulator", "--json", "--port", "0"]
        options = [f"--seed={_SEED}", f"--scale={_SCALE}", f"--ledger={self.folder}/ledger.jsonl"]
        self._supervisor.add_child(
            Child(
                name="simulator", argv=[*simulator, *options], ready_pattern='"base_urls"', wave=3
            )
        )
        upgrade_store(f"sqlite:///{self.folder}/demo.db")  # while the simulator starts
        self.wait_until(lambda: self._supervisor.are_ready("simulator"), "the simulator")
        ready = next(line for line in self.log if '"base_urls"' in line)
        base_url = json.loads(ready.partition("| ")[2])["base_urls"]["thesmspoint"]
        config = self.folder / "dispatcher.toml"
        config.write_text(_CONFIG.format(base_url=base_url), encoding="utf-8")
        settings = load_settings(config, environ={})
        broker_url = f"redis+socket://{self.folder}/broker/broker.sock"
        for child in celery.celery_children(settings, broker_url):
            self._supervisor.add_child(child)
        if flower:
            self._start_flower(settings, broker_url)
        return settings

    def _start_flower(self, settings: Settings, broker_url: str) -> None:
        self.wait_until(lambda: self._supervisor.are_ready("worker"), "the worker")
        port = celery.find_flower_port(None)
        self._supervisor.add_child(celery.flower_child(settings, broker_url, port))
        self.wait_until(lambda: celery.is_listening(port), "Flower")
        self.flower_url = f"http://127.0.0.1:{port}"


@contextmanager
def running_demo() -> Iterator[Demo]:
    """A demo in a folder of its own; on exit its processes are stopped and the folder removed."""
    for name in [name for name in os.environ if name.startswith("DISPATCHER_")]:
        # The demo must not use a configured store or broker.
        if name != "DISPATCHER_DEBUG":
            del os.environ[name]
    log: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dispatcher-demo-")))
        # Keeps the mark file of the store out of the user's state folder.
        os.environ["XDG_STATE_HOME"] = str(folder)
        stack.enter_context(EmbeddedBroker(folder / "broker" / "broker.sock"))
        supervisor = stack.enter_context(Supervisor(log.append))
        yield Demo(folder, supervisor, log)


def _submit_people(store: Store, settings: Settings) -> tuple[str, Preview]:
    account = settings.account(ACCOUNT)
    provider = provider_class(account.provider)(account)
    directory = Directory(
        senders=tuple(provider.parse_senders(fetch_once(provider.senders_request(), timeout_s=10))),
        templates=tuple(
            provider.parse_templates(fetch_once(provider.templates_request(), timeout_s=10))
        ),
    )
    request = SubmissionRequest(
        source=PEOPLE,
        source_name=PEOPLE.name,
        account=ACCOUNT,
        name="demo",
        content=Content(text=TEXT),
    )
    with validation.validated_submission(
        request, provider, lambda requested: provider.resolve_route(requested, directory)
    ) as submission:
        imported = campaign_import.import_rows(store, submission, lambda _row: None)
    acceptance.accept_import(store, imported)
    return str(imported.job.campaign_id), imported.preview
