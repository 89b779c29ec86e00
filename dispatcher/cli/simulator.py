"""`dispatcher simulator`: the providers, played on this machine; nothing is sent or paid."""

import sys
from pathlib import Path

import click


@click.command("simulator")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0: a free one."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Fixes ids, fates and delays. [default: a new one each time]",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append accepted recipients here (JSON Lines).",
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Receipts come this many times faster.",
)
@click.option(
    "--key", "keys", multiple=True, help="An API key to know; none: any key but `bad-key`."
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
    as_json: bool,
) -> None:
    """Play the providers over HTTP on this machine until Ctrl-C.

    Requests are checked as strictly as the providers' documents are written; nothing is sent and
    nothing is paid. It says when it is ready, with the base URLs to put under an account.

    \b
    Numbers that end in these digits choose what becomes of them:
      55500001 delivered        55500004 never a final receipt
      55500002 undelivered      55500005 accepted, but missing from the answer
      55500003 expired

    \b
    Example:
      dispatcher simulator --port 9000 --seed 7 --ledger sent.jsonl
      curl http://127.0.0.1:9000/_sim/stats
      curl -d '{"fault": "reset_after", "count": 1}' http://127.0.0.1:9000/_sim/faults
    """
    import secrets

    import orjson
    import uvloop

    from dispatcher.simulator import ReceiptPlan, Simulator
    from dispatcher.simulator.run import run_until_signal

    # A store keeps provider ids: with one fixed seed, a restart would hand them out again.
    chosen = secrets.randbelow(10**9) if seed is None else seed
    plan = ReceiptPlan(delivered=delivered, undelivered=undelivered, expired=expired, scale=scale)

    def ready(started: Simulator) -> None:
        urls, control = started.base_urls, started.control_url
        if as_json:
            line = {"port": started.port, "seed": chosen, "base_urls": urls, "control": control}
            click.echo(orjson.dumps(line))
        else:
            # A line of its own for each where somebody reads them; one where a script does.
            between, listed = ("\n  ", "\n  ") if sys.stdout.isatty() else (" ", ", ")
            named = [f"{name} {url}" for name, url in (*urls.items(), ("control", control))]
            click.echo(
                f"simulator ready (seed {chosen}, Ctrl-C ends it):{between}{listed.join(named)}"
            )

    uvloop.run(
        run_until_signal(
            lambda: Simulator(seed=chosen, plan=plan, keys=keys, ledger=ledger), port, ready
        )
    )
