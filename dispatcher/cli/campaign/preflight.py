"""What is asked of the provider before a campaign is accepted: does the text fit, is there credit.

Sender and template are checked where the route is found.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher.cli.output import print_line, safe_text
from dispatcher.cli.provider_calls import call_provider, fetch_directory
from dispatcher.errors import BalanceRefused, ErrorKind, ProviderError, StoreError, TextRefused
from dispatcher.policy.credit import CreditCheck, check_credit

#: Failures of a provider that may answer later.
_SILENT: Final = frozenset({ErrorKind.UNREACHABLE, ErrorKind.DOUBTFUL, ErrorKind.THROTTLED})

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.recipients.preview import Preview
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
    from dispatcher.types import Balance, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What the provider said of the account's credit, and what the store knows of its use."""

    store: "Store"
    balances: "Sequence[Balance]" = ()
    #: How many parts the account's other campaigns wait to send.
    parts_of_others: int = 0
    #: Why the balance could not be asked for.
    trouble: str | None = None

    def print_credit(self, submission: "ValidatedSubmission", preview: "Preview") -> None:
        """Print what is left, and how far it reaches."""
        if self.trouble is not None:
            words = f"note: the balance is not known: {safe_text(self.trouble)}"
            print_line(words, "  ", style={"fg": "yellow"})
        checked = self._check(submission, preview)
        if checked is None:
            return
        about = "" if submission.provider.capabilities.credit_is_part else "about "
        others = f", {checked.reserved:f} of it for other campaigns" if checked.reserved else ""
        words = (
            f"balance: {checked.balance:f} ({safe_text(checked.package)}){others}; "
            f"needed: {about}{checked.needed:f}"
        )
        print_line(words, "    ")
        if not checked.is_enough:
            print_line(f"note: {_reach_in_words(checked)}", "  ", style={"fg": "yellow"})

    def to_json(self, submission: "ValidatedSubmission", preview: "Preview") -> dict[str, Any]:
        """The same as data; null where the provider does not say."""
        checked = self._check(submission, preview)
        if checked is None:
            return {"credit": None}
        return {
            "credit": {
                "package": checked.package,
                "balance": str(checked.balance),
                "reserved": str(checked.reserved),
                "needed": str(checked.needed),
                "reaches": checked.reaches,
                "is_enough": checked.is_enough,
            },
        }

    def refuse_too_little(self, submission: "ValidatedSubmission", preview: "Preview") -> None:
        """Raises BalanceRefused where the provider's own table says that it is not enough.

        Where the need is only an estimate, an empty balance is refused. A campaign that is sent
        later is not refused: the account can be topped up until then.
        """
        checked = self._check(submission, preview)
        if checked is None or checked.is_enough or not submission.is_sent_soon(datetime.now(UTC)):
            return
        if not submission.provider.capabilities.credit_is_part and checked.balance > 0:
            return
        fewer = f", or give --limit {checked.reaches}" if checked.reaches else ""
        raise BalanceRefused(_reach_in_words(checked), f"top up the account{fewer}")

    def _check(self, submission: "ValidatedSubmission", preview: "Preview") -> CreditCheck | None:
        if not preview.valid:
            return None
        price = self._price_of_part(submission, preview)
        if price is None and any(one.amount > 0 for one in self.balances):
            return None
        return check_credit(
            self.balances,
            submission.request.kind,
            price=price or Decimal(1),
            parts=preview.parts,
            recipients=preview.valid,
            parts_of_others=self.parts_of_others,
        )

    def _price_of_part(
        self, submission: "ValidatedSubmission", preview: "Preview"
    ) -> Decimal | None:
        """One credit, where the provider counts parts; else by earlier prices, if there are any."""
        from dispatcher.submission.cost_estimate import estimate_cost

        if submission.provider.capabilities.credit_is_part:
            return Decimal(1)
        cost = estimate_cost(self.store, submission, preview)
        return None if cost is None else cost.total * cost.recipients / cost.priced / preview.parts


def find_route(
    request: "SubmissionRequest",
    provider: "Provider",
    options: "SubmitOptions",
    requested: "RequestedRoute",
) -> "Route":
    """The route at the provider, which is asked what the account has.

    A provider that does not answer is asked again before the first batch of a campaign that is sent
    later. Raises ProviderError where it is needed now, and Refused.
    """
    from dispatcher.submission.request import SOON, first_opening
    from dispatcher.types import Route

    try:
        directory = fetch_directory(request.account, provider)
    except ProviderError as error:
        now = datetime.now(UTC)
        can_wait = error.kind in _SILENT and first_opening(request, provider, now) - now > SOON
        # Each of these needs an answer now.
        needs_it = options.fallbacks or options.test_to or options.allow_mismatch
        if not can_wait or needs_it or requested.sender is None or options.contact_lists:
            raise
        if request.content.text is None or (
            provider.capabilities.templates and requested.template is None
        ):
            raise
        words = f"note: sender and template are checked before the first batch: {error.message}"
        click.secho(safe_text(words), fg="yellow", err=True)
        return Route(sender=requested.sender, template=requested.template, is_found=False)
    return provider.resolve_route(requested, directory)


def _reach_in_words(checked: CreditCheck) -> str:
    words = (
        f"the balance ({safe_text(checked.package)}) is {checked.balance:f}: enough for "
        f"{checked.reaches} of {checked.recipients} recipients"
    )
    if checked.reserved:
        words += f", since other campaigns need {checked.reserved:f}"
    return words


def refuse_misfit(submission: "ValidatedSubmission", text: str) -> None:
    """Raises TextRefused, with the place, for a text unlike the template that the provider has."""
    from dispatcher.text.registered import find_misfit

    registered = submission.route.template_text
    if not registered or (misfit := find_misfit(registered, text)) is None:
        return
    before = f"after {misfit.after!r} " if misfit.after else "at its beginning "
    wanted = f"has {misfit.wanted!r}" if misfit.wanted else "ends"
    found = f"has {misfit.found!r}" if misfit.found else "ends"
    raise TextRefused(
        f"the text does not fit the template {submission.route.template!r}: {before}the template "
        f"{wanted}, the text {found}",
        f"the template is: {registered} – change the text, or name another --template; "
        "--allow-mismatch sends it anyway",
    )


def ask_provider(
    store: "Store", submission: "ValidatedSubmission", *, allow_mismatch: bool
) -> Preflight:
    """Compare text and template, and ask for the balance.

    A provider that does not answer says nothing, since it may answer again when it is sent; nor
    does a store that cannot be read: a dry run needs none. Raises ProviderError if it refuses,
    TextRefused, with the place, for a text unlike its registered template.
    """
    from dispatcher.store import workloads

    if not allow_mismatch:
        refuse_misfit(submission, submission.content.text)
    provider, account = submission.provider, submission.request.account
    balances, trouble = _balances_or_trouble(account, provider)
    try:
        with store.read() as conn:
            open_work = workloads.load_open_work(conn, account)
    except StoreError:
        open_work = []
    others = sum(work.parts for work in open_work if work.campaign.kind == submission.request.kind)
    return Preflight(store=store, balances=balances, parts_of_others=others, trouble=trouble)


def _balances_or_trouble(
    account: str, provider: "Provider"
) -> "tuple[Sequence[Balance], str | None]":
    """What is left, and why that is not known."""
    if not provider.capabilities.balance:
        return (), None
    request = provider.balance_request()
    try:
        return call_provider(account, provider, request, provider.parse_balance), None
    except ProviderError as error:
        if error.kind is ErrorKind.CREDENTIALS:
            raise
        return (), error.message
