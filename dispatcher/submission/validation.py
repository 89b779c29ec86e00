"""Checks a campaign's request before anything is stored; dry runs, which store nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dispatcher.campaigns.content import resolve_content, try_request
from dispatcher.campaigns.gate import check_windows_open
from dispatcher.errors import FileRefused
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.recipients.plain_rows import NoNumbers, WithheldNumbers
from dispatcher.recipients.preview import Preview, RejectedRow
from dispatcher.recipients.reader import open_recipients
from dispatcher.submission.fallback_check import naming_account
from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
from dispatcher.text.lookalikes import refuse_lookalikes
from dispatcher.types import Route


@contextmanager
def validated_submission(
    request: SubmissionRequest,
    provider: Provider,
    resolve: Callable[[RequestedRoute], Route],
    *,
    withheld: WithheldNumbers | None = None,
) -> Iterator[ValidatedSubmission]:
    """Check everything that needs no row: text, placeholders, file, sender, template, windows.

    `withheld` are numbers that get no message: who is on the suppression list.
    Raises Refused or UsageProblem; `resolve` may also raise ProviderError.
    """
    requested = RequestedRoute(
        kind=request.kind,
        sender=request.sender or provider.settings.sender,
        template=request.template or provider.settings.template,
    )
    content = None
    if request.content.text is not None:  # first report what needs no call to the provider
        content = resolve_content(request.content, provider, Route(sender=""))
    if not request.timing.in_recipients_zone:
        check_windows_open(provider.settings, request.constraints, (None,), datetime.now(UTC))
    with open_recipients(
        request.source,
        column=request.column,
        mapping=request.mapping,
        encoding="utf-8" if request.is_generated else request.encoding,
        delimiter="," if request.is_generated else request.delimiter,
        sheet=request.sheet,
        skips_hidden=request.sends_hidden is False,
        is_literal=request.is_generated,
        country=request.country or provider.settings.country,
    ) as file:
        bound = content.template.bind_columns(file.headers) if content is not None else None
        route = resolve(requested)
        if content is None or bound is None:
            content = resolve_content(request.content, provider, route)
            bound = content.template.bind_columns(file.headers)
        refuse_lookalikes(content.template, file.headers)
        if route.is_found:
            try_request(request.content, content, provider, route, request.kind)
        yield ValidatedSubmission(
            request=request,
            provider=provider,
            route=route,
            content=content,
            file=file,
            template=bound,
            withheld=withheld or NoNumbers(),
        )


def dry_run(
    submission: ValidatedSubmission,
    progress: Callable[[int], None],
    rejected: Callable[[RejectedRow], None] = lambda _row: None,
) -> Preview:
    """Read the whole file and store nothing. Raises Refused like `import_rows`."""
    validator = submission.row_validator()
    for block in validator.read_blocks():
        progress(block.last_row)
        for reject in block.rejected:
            rejected(reject)
    check_rows(submission, validator.preview)
    return validator.preview


def check_rows(submission: ValidatedSubmission, preview: Preview) -> None:
    """Raises Refused if the file has no rows, or the windows open in no recipient's zone."""
    zones = sorted({*preview.zones, *preview.closed_zones})
    if zones:
        constraints, now = submission.request.constraints, datetime.now(UTC)
        check_windows_open(submission.provider.settings, constraints, zones, now)
        for name, settings in submission.fallback_settings.items():
            with naming_account(name):
                check_windows_open(settings, constraints, zones, now)
    if not preview.rows:
        raise FileRefused(
            f"{submission.request.source_name} has a header and no rows below it",
            "it needs a row for each recipient",
        )
