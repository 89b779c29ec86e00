"""The demo: a whole campaign on this machine, from a recipient file to receipts; nothing is sent.

Everything is in one temporary folder, which is removed at the end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.campaigns.content import Content
from dispatcher.campaigns.view import CampaignView, load_view
from dispatcher.config.settings import Settings, load_settings
from dispatcher.local.sandbox import Sandbox, running_sandbox
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
_CONFIG = """
[store]
url = "{store_url}"
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


class Demo:
    """A running demo with its processes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.flower_url: str | None = None

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

        self.sandbox.wait_until(is_over, "the campaign's end")
        return load_view(store, reference), preview

    def batch_rows(self, view: CampaignView) -> list[tuple[object, ...]]:
        """Number, encoding, size and results of each batch."""
        store = Store(self.sandbox.store_url)
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
        return next(self.sandbox.read_ledger())["at"] - self.sandbox.began_at

    def _start_processes(self, *, flower: bool) -> Settings:
        sandbox = self.sandbox
        upgrade_store(sandbox.store_url)
        urls = sandbox.start_simulator([f"--seed={_SEED}", f"--scale={_SCALE}"])
        config = sandbox.folder / "dispatcher.toml"
        config.write_text(
            _CONFIG.format(store_url=sandbox.store_url, base_url=urls["thesmspoint"]),
            encoding="utf-8",
        )
        settings = load_settings(config, environ={})
        sandbox.start_workers(settings)
        if flower:
            self.flower_url = sandbox.start_flower(settings)
        return settings


@contextmanager
def running_demo() -> Iterator[Demo]:
    """A demo in a folder of its own; on exit its processes are stopped and the folder removed."""
    with running_sandbox("demo") as sandbox:
        yield Demo(sandbox)


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
