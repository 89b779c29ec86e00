"""`dispatcher erase`: drop everything that is kept of one number."""

from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.numbers import read_number
from dispatcher.cli.output import pluralize, print_json, print_line
from dispatcher.cli.question import require_yes

if TYPE_CHECKING:
    from dispatcher.retention.erase import ErasurePlan

#: Campaigns that are named.
_NAMED: Final = 20
_ELSEWHERE: Final = (
    "Not in this store, and so not erased: exports and reports that were written, backups (erase "
    "it again after restoring one), recipient files, and what the provider keeps."
)


@click.command("erase")
@click.argument("number", metavar="NUMBER")
@click.option("--country", metavar="CC",
              help="Country of a number without code. [default: the accounts']")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def erase_command(
    ctx: click.Context, number: str, country: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Drop all that is kept of a number, in every campaign, at a person's request.

    What is pending is cancelled, counts stay, and nobody texts the number again: of it only a keyed
    hash is kept. It is refused while a message to it is in flight, in doubt or still asked about.

    \b
    Example:
      dispatcher erase "+91 98200 55443" --dry-run
    """
    from dispatcher.retention.erase import plan_erasure, refuse_obstacles, run_erasure
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    msisdn = read_number(settings, number, country)
    store = Store(settings.store.url)
    plan = plan_erasure(store, msisdn, _national_digits(msisdn))
    if not as_json:
        _print_erasure(plan)
    refuse_obstacles(store, plan)
    if dry_run:
        if as_json:
            print_json(_erasure_json(plan, is_erased=False))
        return
    question = "Erase it, and never text the number again?"
    require_yes(question, yes, otherwise="nothing was erased")
    run_erasure(store, plan)
    if as_json:
        print_json(_erasure_json(plan, is_erased=True))
        return
    click.echo("the number is erased; a keyed hash of it keeps it from texts")
    print_line(_ELSEWHERE)
    if plan.importing:
        ids = ", ".join(map(str, plan.importing))
        print_line(f"Campaign {ids} is being imported and may have it: erase it again after that.")


def _national_digits(msisdn: int) -> str:
    """The digits that people write at home, without zeros in front."""
    import phonenumbers

    return str(phonenumbers.parse(f"+{msisdn}").national_number)


def _print_erasure(plan: "ErasurePlan") -> None:
    from dispatcher.numbers.masking import mask_number

    click.echo(
        f"{mask_number(plan.msisdn)}: {pluralize(len(plan.messages), 'message')}, "
        f"{pluralize(len(plan.rejects), 'rejected row')}, "
        f"{pluralize(plan.listed, 'entry', 'entries')} of the suppression list"
    )
    if plan.campaigns:
        more = len(plan.campaigns) - _NAMED
        named = ", ".join(map(str, plan.campaigns[:_NAMED])) + (f" and {more} more" * (more > 0))
        click.echo(f"campaigns: {named}")


def _erasure_json(plan: "ErasurePlan", *, is_erased: bool) -> dict[str, object]:
    return {
        "erased": is_erased,
        "messages": len(plan.messages),
        "campaigns": plan.campaigns,
        "rejects": len(plan.rejects),
        "suppressions": plan.listed,
        "importing": list(plan.importing),
    }
