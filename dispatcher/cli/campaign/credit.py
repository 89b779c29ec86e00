"""Whether the balances of a submission's accounts, its own and its fallbacks, cover it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dispatcher.cli.output import print_line, safe_text
from dispatcher.errors import BalanceRefused
from dispatcher.policy.credit import CreditCheck, check_credit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.providers.base import Provider
    from dispatcher.recipients.preview import Preview
    from dispatcher.status import Kind
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import ValidatedSubmission
    from dispatcher.types import Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCredit:
    """What a provider said of an account's credit, and what the store knows of its use."""

    store: "Store"
    account: str
    provider: "Provider"
    balances: "Sequence[Balance]" = ()
    #: How many parts the account's other campaigns wait to send.
    parts_of_others: int = 0
    #: Why the balance could not be asked for.
    trouble: str | None = None

    def check(self, kind: "Kind", preview: "Preview") -> CreditCheck | None:
        """How far it reaches; None where that is not known."""
        if not preview.valid:
            return None
        price = self._price_of_part(preview)
        if price is None and any(one.amount > 0 for one in self.balances):
            return None
        return check_credit(
            self.balances,
            kind,
            price=price or Decimal(1),
            parts=preview.parts,
            recipients=preview.valid,
            parts_of_others=self.parts_of_others,
        )

    def _price_of_part(self, preview: "Preview") -> Decimal | None:
        """One credit, where the provider counts parts; else by earlier prices, if there are any."""
        from dispatcher.submission.cost_estimate import estimate_cost

        if self.provider.capabilities.credit_is_part:
            return Decimal(1)
        cost = estimate_cost(self.store, self.account, preview)
        return None if cost is None else cost.total * cost.recipients / cost.priced / preview.parts


@dataclass(frozen=True, slots=True)
class Preflight:
    """The credit of a submission's own account, which comes first, and of its fallback accounts."""

    accounts: "Sequence[AccountCredit]"

    def print_credit(self, submission: "ValidatedSubmission", preview: "Preview") -> None:
        """Print what is left at each account, and how far it reaches."""
        for place, one in enumerate(self.accounts):
            _print_balance(one, one.check(submission.request.kind, preview), is_fallback=place > 0)

    def print_balances(self) -> None:
        """Print what is left, where nobody knows how much is needed."""
        for one in self.accounts:
            _print_trouble(one, "")
            packages = ", ".join(f"{each.amount:f} ({each.package})" for each in one.balances)
            if packages:
                print_line(f"  balance: {safe_text(packages)}; how much is needed is not known",
                           "    ")  # fmt: skip

    def to_json(self, submission: "ValidatedSubmission", preview: "Preview") -> dict[str, Any]:
        """The same as data; null where the provider does not say."""
        kind = submission.request.kind
        credit, *others = [_credit_json(one.check(kind, preview)) for one in self.accounts]
        names = [one.account for one in self.accounts[1:]]
        fallbacks = [
            {"account": name, "credit": one} for name, one in zip(names, others, strict=True)
        ]
        return {"credit": credit, "fallback_credit": fallbacks}

    def refuse_empty(self, submission: "ValidatedSubmission") -> None:
        """Raises BalanceRefused for an empty balance, where nobody knows how much is needed."""
        own = self.accounts[0]
        checked = check_credit(
            own.balances, submission.request.kind, price=Decimal(1), parts=1, recipients=1
        )
        empty = checked is not None and checked.balance <= 0
        if checked is not None and empty and submission.is_sent_soon(datetime.now(UTC)):
            raise BalanceRefused(
                f"the balance ({safe_text(checked.package)}) of account {own.account} is "
                f"{checked.balance:f}",
                "top up the account",
            )

    def refuse_too_little(self, submission: "ValidatedSubmission", preview: "Preview") -> None:
        """Raises BalanceRefused where the provider's own table says that it is not enough.

        Where the need is only an estimate, an empty balance is refused. A campaign that is sent
        later is not refused: the account can be topped up until then. Nor is one for which the
        fallback accounts have enough, or may have.
        """
        own, *fallbacks = self.accounts
        checked = own.check(submission.request.kind, preview)
        if checked is None or checked.is_enough or not submission.is_sent_soon(datetime.now(UTC)):
            return
        if not own.provider.capabilities.credit_is_part and checked.balance > 0:
            return
        others = [one.check(submission.request.kind, preview) for one in fallbacks]
        reaches = checked.reaches + sum(one.reaches for one in others if one is not None)
        if None in others or reaches >= checked.recipients:
            return
        words = _reach_in_words(checked)
        if fallbacks:
            words += f", and with the fallback accounts for {reaches}"
        fewer = f", or give --limit {reaches}" if reaches else ""
        raise BalanceRefused(words, f"top up the account{fewer}")


def _print_balance(one: AccountCredit, checked: CreditCheck | None, *, is_fallback: bool) -> None:
    """Print what is left at an account, and a note where it is too little."""
    who = f"fallback {one.account}, " if is_fallback else ""
    _print_trouble(one, who)
    if checked is None:
        return
    about = "" if one.provider.capabilities.credit_is_part else "about "
    others = f", {checked.reserved:f} of it for other campaigns" if checked.reserved else ""
    words = (
        f"{who}balance: {checked.balance:f} ({safe_text(checked.package)}){others}; "
        f"needed: {about}{checked.needed:f}"
    )
    print_line(words + (" if it sends all" if is_fallback else ""), "    ")
    if not checked.is_enough:
        print_line(f"note: {who}{_reach_in_words(checked)}", "  ", style={"fg": "yellow"})


def _print_trouble(one: AccountCredit, who: str) -> None:
    if one.trouble is not None:
        words = f"note: {who}the balance is not known: {safe_text(one.trouble)}"
        print_line(words, "  ", style={"fg": "yellow"})


def _credit_json(checked: CreditCheck | None) -> dict[str, Any] | None:
    if checked is None:
        return None
    return {
        "package": checked.package,
        "balance": str(checked.balance),
        "reserved": str(checked.reserved),
        "needed": str(checked.needed),
        "reaches": checked.reaches,
        "is_enough": checked.is_enough,
    }


def _reach_in_words(checked: CreditCheck) -> str:
    words = (
        f"the balance ({safe_text(checked.package)}) is {checked.balance:f}: enough for "
        f"{checked.reaches} of {checked.recipients} recipients"
    )
    if checked.reserved:
        words += f", since other campaigns need {checked.reserved:f}"
    return words
