"""`dispatcher campaign pause | resume | cancel`: one campaign, several, or all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import click

from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.output import pluralize, print_json, safe_text
from dispatcher.cli.question import require_yes
from dispatcher.errors import DispatcherError, Refused, UsageProblem

if TYPE_CHECKING:
    from dispatcher.campaigns.view import CampaignView
    from dispatcher.status import CampaignState
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow

    ChangeState = Callable[[Store, str], CampaignRow]

Command = TypeVar("Command", bound=Callable[..., object])
#: The most campaigns that a question names.
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which campaigns a command is about; the command's parameters have the same names."""

    references: tuple[str, ...]
    everything: bool
    accounts: tuple[str, ...]
    as_json: bool
    yes: bool = True

    @property
    def is_single(self) -> bool:
        """Whether one campaign is named: its answer is about it alone."""
        return len(self.references) == 1


def choice_options(command: Command) -> Command:
    """Give a command the parameters of a Choice, but `--yes`."""
    for add in reversed(
        [
            click.argument("references", metavar="[CAMPAIGN]...", nargs=-1),
            click.option("--all", "everything", is_flag=True, help="All campaigns."),
            click.option(
                "--account", "accounts", multiple=True,
                help="All campaigns that this account sends; repeatable.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        ]
    ):  # fmt: skip
        command = add(command)
    return command


@dataclass(frozen=True, slots=True)
class _Changes:
    """What became of the campaigns that a command is about."""

    done: "list[CampaignView]" = field(default_factory=list)
    problems: list[DispatcherError] = field(default_factory=list)

    def exit_if_incomplete(self) -> None:
        """Exit with 1 if some campaigns were not changed; with 3 if all were refused."""
        if self.problems:
            is_refused = all(isinstance(problem, Refused) for problem in self.problems)
            raise click.exceptions.Exit(
                Refused.exit_code if is_refused and not self.done else DispatcherError.exit_code
            )


@click.command("pause")
@choice_options
@with_options(Choice)
def campaign_pause(ctx: click.Context, choice: Choice) -> None:
    """Stop sending campaigns. Requests in flight are settled; `campaign resume` continues.

    \b
    Example:
      dispatcher campaign pause 1
      dispatcher campaign pause --account main
    """
    from dispatcher.campaigns.control import PAUSABLE, pause_campaign

    rows = _choose(ctx, choice, PAUSABLE)
    changes = _change_each(ctx, choice, rows, pause_campaign)
    _print_in_flight(changes.done, choice)
    changes.exit_if_incomplete()


@click.command("resume")
@choice_options
@with_options(Choice)
def campaign_resume(ctx: click.Context, choice: Choice) -> None:
    """Continue paused campaigns.

    \b
    Example:
      dispatcher campaign resume 1
      dispatcher campaign resume --all
    """
    from dispatcher.campaigns.control import resume_campaign
    from dispatcher.cli.campaign.progress import stop_reason
    from dispatcher.status import CampaignState

    rows = _choose(ctx, choice, [CampaignState.PAUSED])
    changes = _change_each(ctx, choice, rows, resume_campaign)
    for shown in changes.done:
        if not choice.as_json and (reason := stop_reason(shown)) is not None:
            which = "" if choice.is_single else f"campaign {shown.campaign.id}: "
            click.echo(safe_text(which + reason))
    changes.exit_if_incomplete()


@click.command("cancel")
@choice_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_options(Choice)
def campaign_cancel(ctx: click.Context, choice: Choice) -> None:
    """End campaigns for good. Messages that were submitted already cannot be recalled.

    An import that was broken off is discarded: its rows go, and nothing of it is sent.

    \b
    Example:
      dispatcher campaign cancel 1
      dispatcher campaign cancel 3 4 5 --yes
    """
    from dispatcher.campaigns.control import CANCELLABLE, count_pending
    from dispatcher.status import CampaignState
    from dispatcher.store.engine import Store
    from dispatcher.submission.campaign_import import cancel_any_campaign

    rows = _choose(ctx, choice, [*CANCELLABLE, CampaignState.IMPORTING])
    if rows:
        pending = count_pending(Store(settings_from(ctx).store.url), rows)
        left = pluralize(pending, "recipient is", "recipients are")
        question = f"Cancel {_name_campaigns(rows)} ({left} not submitted yet)?"
        require_yes(question, choice.yes, otherwise="nothing was changed")
    changes = _change_each(ctx, choice, rows, cancel_any_campaign)
    _print_in_flight(changes.done, choice)
    changes.exit_if_incomplete()


def _choose(
    ctx: click.Context, choice: Choice, states: "Sequence[CampaignState]"
) -> "list[CampaignRow]":
    """The campaigns that a command is about. Raises UsageProblem."""
    from dispatcher.campaigns.control import select_campaigns
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    is_group = choice.everything or bool(choice.accounts)
    if bool(choice.references) == is_group:
        raise UsageProblem(
            "campaigns are named, and --all or --account is given too"
            if is_group
            else "no campaign is named",
            "name campaigns by id or name, or give --all or --account",
        )
    settings = settings_from(ctx)
    rows = select_campaigns(
        Store(settings.store.url), choice.references, accounts=choice.accounts, states=states
    )
    for name in {*choice.accounts} - {row.account for row in rows}:
        settings.account(name)
    return rows


def _name_campaigns(rows: "Sequence[CampaignRow]") -> str:
    """The campaigns for a question: `campaign 3`, or `the campaigns 3 (spring), 4 (autumn)`."""
    if len(rows) == 1:
        return f"campaign {rows[0].id}"
    named = ", ".join(f"{row.id} ({row.name})" for row in rows[:_NAMED])
    others = len(rows) - _NAMED
    return f"{len(rows)} campaigns: {named}" + (f" and {others} others" if others > 0 else "")


def _change_each(
    ctx: click.Context, choice: Choice, rows: "Iterable[CampaignRow]", change: "ChangeState"
) -> _Changes:
    """Change the campaigns one by one, and say what each is then.

    One that is refused does not keep the others from being changed, unless it is the only one.
    """
    from dispatcher.campaigns.view import details_json, load_view, summary_json
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    changes = _Changes()
    report: list[dict[str, object]] = []
    for row in rows:
        problem = None if choice.is_single else _try_change(store, row, change)
        if choice.is_single:
            change(store, str(row.id))
        shown = load_view(store, str(row.id))
        if problem is not None:
            changes.problems.append(problem)
            click.echo(f"not changed: {safe_text(problem.in_one_line)}", err=True)
        else:
            changes.done.append(shown)
            if not choice.as_json:
                click.echo(_describe_state(shown, was=row.state))
        error = None if problem is None else problem.message
        report.append({**summary_json(shown.campaign, shown.counts), "error": error})
    if choice.as_json:
        print_json(details_json(changes.done[0]) if choice.is_single else report)
    elif not report:
        click.echo("there is no such campaign in a state that this could change")
    return changes


def _describe_state(shown: "CampaignView", *, was: str) -> str:
    """The state that it has now, and what undoes a pause or became of an import."""
    number, state = shown.campaign.id, shown.campaign.state
    more = f"; `dispatcher campaign resume {number}` continues" if state == "paused" else ""
    if was == "importing":
        more = ": its import is discarded, and nothing of it was sent"
    return f"campaign {number} is {state}{more}"


def _try_change(
    store: "Store", row: "CampaignRow", change: "ChangeState"
) -> DispatcherError | None:
    """Change one of several campaigns; what went wrong, None if nothing did."""
    try:
        change(store, str(row.id))
    except DispatcherError as error:
        return error
    return None


def _print_in_flight(shown: "Iterable[CampaignView]", choice: Choice) -> None:
    in_flight = sum(each.batches["claimed"] + each.batches["submitting"] for each in shown)
    if in_flight and not choice.as_json:
        what = pluralize(in_flight, "batch is", "batches are")
        click.echo(f"{what} in flight; the provider's answers will be stored")
