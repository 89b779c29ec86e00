"""`dispatcher simulator`: simulated providers on this machine; nothing is sent or paid."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.terminal import is_terminal

if TYPE_CHECKING:
    from dispatcher.simulator import Simulator


@click.command("simulator")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    help="The port; 0: any free one.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Makes ids, receipts and delays repeatable. [default: a new one each time]",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append accepted recipients to this file (JSON Lines).",
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="How many times faster receipts come.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="An API key to accept; repeatable. [default: every key except `bad-key`]",
)
@click.option(
    "--delivered", type=float, default=0.94, show_default=True, help="Share of Delivered receipts."
)
@click.option(
    "--undelivered", type=float, default=0.04, show_default=True, help="Share of UnDelivered ones."
)
@click.option(
    "--expired",
    type=float,
    default=0.01,
    show_default=True,
    help="Share of Expired ones; the rest stays Sent.",
)
@click.option(
    "--push-to", metavar="URL",
    help="Where providers that push send receipts and replies: a receiver on this machine.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
def simulator_command(
    port: int,
    seed: int | None,
    ledger: Path | None,
    scale: float,
    keys: tuple[str, ...],
    delivered: float,
    undelivered: float,
    expired: float,
    push_to: str | None,
    as_json: bool,
) -> None:
    """Simulate the providers over HTTP on this machine until Ctrl-C.

    Requests are checked strictly by the providers' documents; nothing is sent and nothing is paid.
    When it is ready, it prints the base URLs to write under an account.

    \b
    Numbers that end in these digits have a fixed result:
      55500001 delivered        55500004 never a final receipt
      55500002 undelivered      55500005 accepted, but missing from the answer
      55500003 expired

    \b
    Example:
      dispatcher simulator --port 9000 --seed 7 --ledger sent.jsonl
      curl http://127.0.0.1:9000/_sim/stats
      curl http://127.0.0.1:9000/_sim/faults \\
        -d '{"fault": "reset_after", "count": 1}'
    """
    import secrets

    import uvloop

    from dispatcher.simulator import ReceiptPlan, Simulator
    from dispatcher.simulator.run import run_until_signal

    # A store keeps provider ids: with one fixed seed, a restart would hand them out again.
    chosen = secrets.randbelow(10**9) if seed is None else seed
    plan = ReceiptPlan(delivered=delivered, undelivered=undelivered, expired=expired, scale=scale)

    def make() -> Simulator:
        return Simulator(seed=chosen, plan=plan, keys=keys, ledger=ledger, push_to=push_to)

    print_ready = partial(_print_ready, seed=chosen, as_json=as_json)
    uvloop.run(run_until_signal(make, port, print_ready))


def _print_ready(started: "Simulator", *, seed: int, as_json: bool) -> None:
    import orjson

    urls, control = started.base_urls, started.control_url
    if as_json:
        line = {"port": started.port, "seed": seed, "base_urls": urls, "control": control}
        click.echo(orjson.dumps(line))
    else:
        # One URL a line for a person; one line for a script.
        between, listed = ("\n  ", "\n  ") if is_terminal(sys.stdout) else (" ", ", ")
        named = [f"{name} {url}" for name, url in (*urls.items(), ("control", control))]
        click.echo(
            f"simulator ready (seed {seed}, press Ctrl-C to stop):{between}{listed.join(named)}"
        )
