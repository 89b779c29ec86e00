"""`dispatcher demo`: a whole campaign shown live, and its result."""

from collections import Counter
from typing import TYPE_CHECKING

import click

from dispatcher.cli.output import print_line, print_table, safe_text

if TYPE_CHECKING:
    from dispatcher.campaigns.view import CampaignView
    from dispatcher.demo import Demo
    from dispatcher.recipients.preview import Preview


@click.command("demo")
@click.option("--flower", is_flag=True, help="Also run Flower, and print its address.")
def demo_command(flower: bool) -> None:
    """Run a whole campaign on this machine: 5,000 rows to a simulated provider.

    Starts a private broker, a SQLite store, a worker, the scheduler and the simulator, and stops
    them at the end. It needs no configuration, sends nothing and leaves nothing behind.

    \b
    Example:
      dispatcher demo
    """
    from dispatcher.cli.campaign.pace import SubmissionPace
    from dispatcher.cli.campaign.progress import ProgressDisplay
    from dispatcher.demo import PEOPLE, TEXT
    from dispatcher.demo import running_demo as running

    click.echo(f"demo: {PEOPLE.name} to a simulated provider; nothing is really sent")
    print_line(f"text: {TEXT}", "  ")
    click.echo()
    with running() as demo:
        pace = SubmissionPace()
        with ProgressDisplay() as screen:

            def show(view: "CampaignView") -> None:
                if demo.flower_url is not None and screen.is_fresh:
                    click.echo(f"flower: {demo.flower_url}")
                pace.add_observation(view.total_submitted)
                screen.show_progress(view, pace)

            view, preview = demo.run_campaign(flower=flower, show=show)
        _print_summary(demo, view, preview)


def _print_summary(demo: "Demo", view: "CampaignView", preview: "Preview") -> None:
    from dispatcher.errors import DispatcherError

    click.echo("\nmessages per state")
    counts = {name: count for name, count in view.counts.items() if name != "no_receipt"}
    print_table(("state", "messages"), [(n.replace("_", " "), c) for n, c in counts.items() if c])
    if view.counts["no_receipt"]:
        click.echo(f"({view.counts['no_receipt']} of the submitted ones got no receipt in time)")
    click.echo("\nbatches")
    print_table(
        ("batch", "encoding", "recipients", "delivered", "undelivered", "expired", "submitted"),
        demo.batch_rows(view),
    )
    click.echo(
        f"\nrows without a message: {preview.invalid} invalid, {preview.duplicate} duplicate"
    )
    for reject in preview.rejects[:8]:
        print_line(f"  row {reject.row}: {reject.kind.label}: {safe_text(reject.reason)}", "    ")
    ledger = Counter(entry["number"] for entry in demo.sandbox.read_ledger())
    doubles = [number for number, times in ledger.items() if times > 1]
    click.echo(
        f"\nthe provider's ledger: {ledger.total()} messages accepted, {len(doubles)} numbers twice"
    )
    click.echo(f"first batch accepted after: {demo.first_batch_after_s():.1f} s")
    click.echo(f"wall time: {demo.sandbox.elapsed_s:.1f} s")
    if doubles or view.counts["in_doubt"] or ledger.total() != view.counts["total"]:
        raise DispatcherError(
            "the provider's ledger and the store disagree: this is a bug",
            "please report it, with the output above",
        )
    click.echo("\nwhat next, with your own file:")
    click.echo("  dispatcher init")
    click.echo('  dispatcher rehearse people.csv --text "Hello {{name}}"')
