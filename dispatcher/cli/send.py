"""`dispatcher send`: one message now, before any bulk batch."""

import csv
import io
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.outcome import answer, wait_option

if TYPE_CHECKING:
    from dispatcher.submission import Order


@click.command("send")
@click.argument("number")
@click.argument("text")
@click.option("--account", help="The account to send with. [default: the only one configured]")
@click.option("--sender", help="The sender. [default: the account's]")
@click.option("--template", help="The provider's template. [default: the account's]")
@click.option(
    "--kind",
    type=click.Choice(["transactional", "promotional", "otp"]),
    default="transactional",
    show_default=True,
)
@click.option("--idempotency-key", help="Sending again with the same key changes nothing.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def send(ctx: click.Context, /, **given: Any) -> None:
    """Send TEXT to NUMBER now: released before any bulk batch, within the account's windows.

    It becomes a campaign of one recipient. With --wait the exit code is 1 where it was refused.

    \b
    Example:
      dispatcher send +919820011223 "Your code is 482913" --account main --kind otp --wait
    """
    from dispatcher import submission
    from dispatcher.cli.inquiry import chosen, directory_of
    from dispatcher.errors import Refused
    from dispatcher.store.engine import Store

    account, provider = chosen(ctx, given["account"])
    store = Store(settings_from(ctx).store.url)
    with submission.prepared(
        _order(account, given),
        provider,
        lambda wish: provider.resolve(wish, directory_of(account, provider)),
    ) as ready:
        known = None
        if given["idempotency_key"] is not None:
            known = submission.already_submitted(store, ready)
        if known is None:
            imported = submission.import_rows(store, ready, lambda _row: None)
            if not imported.preview.valid:
                submission.discard(store, imported.job)
                raise Refused(f"the message was not sent: {imported.preview.rejects[0].reason}")
            submission.accept(store, imported)
    reference = str(imported.job.campaign_id if known is None else known.id)
    what = "is on its way" if known is None else "was sent before with this key"
    answer(store, reference, given["wait_for"], as_json=given["as_json"], what=what)


def _order(account: str, given: dict[str, Any]) -> "Order":
    from dispatcher.msisdn import mask
    from dispatcher.status import Kind
    from dispatcher.submission import Order
    from dispatcher.timing import Timing

    # The text is a value, not a template: braces in it are sent as they are.
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("phone", "text"), (given["number"], given["text"])])
    digits = "".join(char for char in given["number"] if char.isdigit())
    return Order(
        source=io.BytesIO(table.getvalue().encode("utf-8", "surrogateescape")),
        source_name="send",
        account=account,
        text="{{text}}",
        name=f"send to {mask(digits)}",
        kind=Kind(given["kind"]),
        sender=given["sender"],
        template=given["template"],
        idempotency_key=given["idempotency_key"],
        again=True,
        timing=Timing(one_off=True),
    )
