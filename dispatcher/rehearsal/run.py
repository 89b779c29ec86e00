"""Runs a rehearsal: the campaign, opened and bounded, by real workers to the simulator."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from dispatcher.campaigns.timing import Timing
from dispatcher.campaigns.view import CampaignView, load_view
from dispatcher.config.settings import Settings, load_settings
from dispatcher.forecast.service import forecast_submission_alone
from dispatcher.local.sandbox import Sandbox, running_sandbox
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.recipients.preview import Preview
from dispatcher.rehearsal.settings import open_for_rehearsal, write_config
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.submission import acceptance, campaign_import
from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
from dispatcher.types import Directory, Route, SenderId, Template

#: How many recipients are rehearsed unless somebody wants more.
MOST_RECIPIENTS: Final = 2_000
#: A campaign that takes longer at its rates is rehearsed faster.
_SENDS_FOR_S: Final = 10.0
#: The rehearsal fails if nothing changes for so long.
_STUCK_S: Final = 60.0
#: How many times faster receipts come.
_SCALE: Final = 10
_SHOWN_TEXTS: Final = 3


class SentText(NamedTuple):
    """What the simulated provider accepted for one recipient."""

    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rehearsal came to."""

    view: CampaignView
    #: How many requests the provider accepted, and for how many recipients.
    requests: int
    accepted: int
    #: How many numbers it got twice.
    doubles: int
    texts: Sequence[SentText]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is rehearsed of a submission, and how many times faster than its rates."""

    request: SubmissionRequest
    provider: Provider
    recipients: int
    faster: float


@contextmanager
def running_rehearsal() -> Iterator[tuple[Sandbox, Mapping[str, str]]]:
    """A sandbox with a simulator, and the base URLs of the simulated providers."""
    with running_sandbox("rehearsal") as sandbox:
        yield sandbox, sandbox.start_simulator(["--seed=7", f"--scale={_SCALE}"])


def assumed_route(provider: Provider, requested: RequestedRoute, directory: Directory) -> Route:
    """The route as if the provider had approved sender and template.

    `directory` is the simulator's: its requests need a sender and a template that it knows.
    Raises Refused where one of the two is missing, or where the text is at the provider only.
    """
    known = requested
    if directory.senders:
        known = replace(
            requested,
            sender=requested.sender and _approved(directory.senders, requested),
            template=requested.template and _approved(directory.templates, requested),
        )
    route = provider.resolve_route(known, directory)
    return replace(
        route,
        sender=requested.sender or route.sender,
        template=requested.template,
        template_text=None,
    )


def keep_input(sandbox: Sandbox, request: SubmissionRequest) -> SubmissionRequest:
    """The request with a source that can be read twice: a pipe is kept in the sandbox."""
    if isinstance(request.source, Path):
        return request
    kept = sandbox.folder / "input"
    with kept.open("wb") as file:
        shutil.copyfileobj(request.source, file)
    return replace(request, source=kept)


def open_request(submission: ValidatedSubmission, preview: Preview) -> Opened:
    """The submission without times and windows, for at most 2,000 recipients or its own limit."""
    limit = submission.request.limit
    recipients = min(preview.valid, limit or MOST_RECIPIENTS)
    request, provider = _opened(submission, recipients, 1.0)
    now = datetime.now(UTC)
    found = forecast_submission_alone(
        replace(submission, request=request, provider=provider), preview, now
    )
    seconds = 0.0 if found.finish_at is None else (found.finish_at - now).total_seconds()
    faster = max(1.0, seconds * recipients / max(1, preview.valid) / _SENDS_FOR_S)
    request, provider = _opened(submission, recipients, faster)
    return Opened(request=request, provider=provider, recipients=recipients, faster=faster)


def run_rehearsal(
    sandbox: Sandbox,
    settings: Settings,
    submission: ValidatedSubmission,
    faster: float,
    show: Callable[[CampaignView], None],
) -> Outcome:
    """Send what was opened, and call `show` with the campaign until it ends.

    Raises Refused and SandboxFailed.
    """
    began = sandbox.elapsed_s
    accounts = {name: open_for_rehearsal(each, faster) for name, each in settings.accounts.items()}
    accounts[submission.request.account] = submission.provider.settings
    config = sandbox.folder / "dispatcher.toml"
    write_config(settings.model_copy(update={"accounts": accounts}), config)
    upgrade_store(settings.store.url)
    store = Store(settings.store.url)
    imported = campaign_import.import_rows(store, submission, lambda _row: None)
    acceptance.accept_import(store, imported)
    sandbox.start_workers(load_settings(config, environ={}))
    view = _follow(sandbox, store, str(imported.job.campaign_id), show)
    return _judge(sandbox, view, sandbox.elapsed_s - began)


def _follow(
    sandbox: Sandbox, store: Store, reference: str, show: Callable[[CampaignView], None]
) -> CampaignView:
    """Wait for the campaign's end, as long as something still changes."""
    view = load_view(store, reference)
    while not view.is_over:
        former = view.counts

        def has_changed() -> bool:
            nonlocal view
            view = load_view(store, reference)
            show(view)
            return view.is_over or view.counts != former  # noqa: B023 - called in this turn only

        sandbox.wait_until(has_changed, "the campaign", _STUCK_S)
    return view


def _judge(sandbox: Sandbox, view: CampaignView, seconds: float) -> Outcome:
    requests, numbers, accepted = set[int](), set[str](), 0
    texts: list[SentText] = []
    for entry in sandbox.read_ledger() if view.total_submitted else ():
        requests.add(entry["request"])
        numbers.add(entry["number"])
        accepted += 1
        if len(texts) < _SHOWN_TEXTS:
            texts.append(SentText(int(entry["number"]), entry["text"]))
    return Outcome(
        view=view,
        requests=len(requests),
        accepted=accepted,
        doubles=accepted - len(numbers),
        texts=texts,
        seconds=seconds,
    )


def _approved(entries: Sequence[SenderId] | Sequence[Template], requested: RequestedRoute) -> str:
    """The ref of an entry that the simulator approves for the campaign's kind."""
    return next(one.ref for one in entries if one.approved and one.kind in {None, requested.kind})


def _opened(
    submission: ValidatedSubmission, recipients: int, faster: float
) -> tuple[SubmissionRequest, Provider]:
    request, provider = submission.request, submission.provider
    timing = Timing(
        rate=None if request.timing.rate is None else request.timing.rate * faster,
        priority=request.timing.priority,
        zone=request.timing.zone,
        in_recipients_zone=request.timing.in_recipients_zone,
    )
    content = replace(request.content, schedule_at=None)
    opened = replace(
        request, limit=recipients, timing=timing, content=content, idempotency_key=None
    )
    size = provider.batch_size(needs_requests=False, rate=request.timing.rate)
    settings = open_for_rehearsal(provider.settings, faster)
    # Requests keep their size, which would follow from the rates.
    return opened, type(provider)(settings.model_copy(update={"max_recipients": size.recipients}))
