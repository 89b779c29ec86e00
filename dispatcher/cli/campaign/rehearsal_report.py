"""What a rehearsal shows: what came of it, what was real and what was not, and what comes next."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from dispatcher.cli.campaign.file_report import file_json
from dispatcher.cli.campaign.preview import print_rows, print_summary
from dispatcher.cli.output import pluralize, print_json, print_line, print_table, safe_text
from dispatcher.errors import DispatcherError
from dispatcher.forecast import service
from dispatcher.numbers.masking import mask_number

if TYPE_CHECKING:
    from dispatcher.forecast.simulation import Forecast
    from dispatcher.recipients.preview import Preview
    from dispatcher.rehearsal.run import Opened, Outcome
    from dispatcher.submission.cost_estimate import CostEstimate
    from dispatcher.submission.request import ValidatedSubmission


def print_beginning(submission: "ValidatedSubmission", preview: "Preview") -> None:
    """Print what the file is, before anything runs."""
    click.secho("rehearsal at a simulated provider: nothing is sent, nobody is charged", bold=True)
    click.echo()
    print_rows(submission, preview)
    print_summary(submission, preview)
    click.echo()


@dataclass(frozen=True, slots=True)
class RehearsalReport:
    """A rehearsal that has ended, and the command that would do it for real."""

    submission: "ValidatedSubmission"
    preview: "Preview"
    #: By the prices in the configured store; None where none is known.
    cost: "CostEstimate | None"
    opened: "Opened"
    outcome: "Outcome"
    next_command: str

    def print_all(self) -> None:
        """Print it for a person."""
        counts = self._counts()
        click.echo("\nwhat came of it (outcomes are the simulator's: real shares will differ)")
        print_table(("state", "messages"), [(n.replace("_", " "), c) for n, c in counts.items()])
        if self.outcome.texts:
            click.echo("\ntexts as they were sent:")
        for sent in self.outcome.texts:
            print_line(f"  to {mask_number(sent.number)}: {safe_text(sent.text)}", "    ")
        click.echo()
        for label, words in self._facts():
            print_line(f"{label}: {words}", "  ")
        click.echo("\nwhat next, to send it for real:")
        click.echo(f"  {safe_text(self.next_command)}")

    def print_json(self) -> None:
        """Print it as data."""
        forecast = self._forecast()
        print_json(
            {
                "rehearsed": self.opened.recipients,
                "total": self.preview.valid,
                "counts": self._counts(),
                "requests": self.outcome.requests,
                "parts": self.preview.parts,
                "cost_estimate": None if self.cost is None else str(self.cost.total),
                "invalid": self.preview.invalid,
                "duplicate": self.preview.duplicate,
                "reasons": dict(self.preview.reasons),
                "texts": [
                    {"number": mask_number(sent.number), "text": sent.text}
                    for sent in self.outcome.texts
                ],
                "seconds": round(self.outcome.seconds, 1),
                "faster": round(self.opened.faster, 2),
                "skipped": self._skipped(),
                "forecast": {**service.forecast_to_json(forecast), "alone": True},
                "next": self.next_command,
                **self._file(),
            }
        )

    def refuse_disagreement(self) -> None:
        """Raises DispatcherError where provider and store disagree about who was sent what."""
        outcome, counts = self.outcome, self.outcome.view.counts
        if outcome.doubles or counts["in_doubt"] or outcome.accepted != self.opened.recipients:
            raise DispatcherError(
                f"of {pluralize(self.opened.recipients, 'recipient')} the simulated provider "
                f"accepted {outcome.accepted}, {outcome.doubles} of them twice, and "
                f"{counts['in_doubt']} are in doubt",
                "look at the states above; if nothing was killed meanwhile, please report this",
            )

    def _facts(self) -> list[tuple[str, str]]:
        """What was real, what was not, and how it will be in earnest."""
        opened, outcome, preview = self.opened, self.outcome, self.preview
        whose = pluralize(opened.recipients, "recipient")
        if opened.recipients < preview.valid:
            whose = f"{opened.recipients} of {preview.valid} recipients (--limit N: the first N)"
        speed = "at the real rates"
        if opened.faster > 1:
            speed = f"{opened.faster:.0f} times faster than the real rates"
        zone = ZoneInfo(self.submission.provider.settings.timezone)
        forecast = self._forecast()
        really = service.describe_forecast(forecast, zone)
        facts = [
            ("rehearsed", f"{whose} in {pluralize(outcome.requests, 'request')}"),
            ("real time", f"{outcome.seconds:.0f} s, {speed}"),
            ("skipped", "; ".join(self._skipped())),
            (f"if all {preview.valid} are submitted now, and nothing else", really),
        ]
        if (duration := _duration(forecast)) is not None:
            facts.append(("sending takes", duration))
        facts.append((f"all {preview.valid} need", self._cost_in_words()))
        return facts

    def _cost_in_words(self) -> str:
        able = self.submission.provider.capabilities
        known = [pluralize(self.preview.parts, "credit")] if able.credit_is_part else []
        known += [self.cost.in_words] if self.cost is not None else []
        if known:
            return ", ".join(known)
        account = self.submission.request.account
        return (
            f"not known: account {account} has sent nothing yet that has a price "
            f"({pluralize(self.preview.parts, 'part')})"
        )

    def _skipped(self) -> list[str]:
        """What a rehearsal does not wait for, and does not ask."""
        request, settings = self.submission.request, self.submission.provider.settings
        timing = request.timing
        waits = [
            (timing.start_at is not None, "--start-at"),
            (timing.expire_at is not None, "--expire-at"),
            (request.content.schedule_at is not None, "--schedule-at-provider"),
            (bool(timing.windows or timing.blackouts), "the campaign's windows"),
            (bool(settings.windows_for(request.kind)), "the account's windows"),
            (settings.daily_limit is not None, "the daily limit"),
        ]
        named = [name for is_set, name in waits if is_set]
        skipped = [f"{', '.join(named)} (not waited for)"] if named else []
        asked = ["key"]
        able = self.submission.provider.capabilities
        asked += [name for name in ("balance", "senders", "templates") if getattr(able, name)]
        skipped.append(f"the provider's own checks of {', '.join(asked)}")
        return skipped

    def _forecast(self) -> "Forecast":
        return service.forecast_submission_alone(self.submission, self.preview, datetime.now(UTC))

    def _counts(self) -> dict[str, int]:
        found = self.outcome.view.counts
        rows = {"invalid", "duplicate", "suppressed", "parts", "rows"}
        return {name: count for name, count in found.items() if count and name not in rows}

    def _file(self) -> dict[str, Any]:
        return file_json(self.submission, self.preview)


def _duration(forecast: "Forecast") -> str | None:
    """How long it sends, without the time that it waits before; None if that is not known."""
    if forecast.first_at is None or forecast.finish_at is None:
        return None
    minutes, seconds = divmod(round((forecast.finish_at - forecast.first_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
