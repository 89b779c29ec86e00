"""`dispatcher metrics`: what Prometheus asks for, over HTTP or printed once."""

import click

from dispatcher.cli.context import settings_from

#: No other well-known exporter has it.
_PORT = 9109


@click.command("metrics")
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    show_default=True,
    help="The port; 0: any free one.",
)
@click.option("--once", is_flag=True, help="Print the metrics and end; nothing listens.")
@click.pass_context
def metrics_command(ctx: click.Context, *, host: str, port: int, once: bool) -> None:
    """Serve metrics of the store for Prometheus until Ctrl-C: /metrics, and /healthz.

    One process for each store is enough. It reads only: while the store is away it goes on, and
    says dispatcher_store_up 0. With --once it then ends with 1.

    \b
    Example:
      dispatcher metrics --port 9109
      dispatcher metrics --once
    """
    from contextlib import closing

    from dispatcher.monitoring.exporter import make_registry, render_metrics
    from dispatcher.store.engine import Store

    settings = settings_from(ctx)
    with closing(Store(settings.store.url, lock_wait_s=5)) as store:
        registry = make_registry(store, settings)
        if once:
            text = render_metrics(registry)
            click.echo(text, nl=False)
            if "\ndispatcher_store_up 0.0" in text:
                raise click.exceptions.Exit(1)
            return
        from dispatcher.logs.console import make_console
        from dispatcher.logs.events import LogEvent
        from dispatcher.logs.formats import set_up_logs
        from dispatcher.monitoring.server import serve_until_signal

        if not _is_loopback(host):
            click.echo(
                f"Warning: whoever reaches {host}:{port} can read the metrics: without a password, "
                "and not encrypted. They name accounts and counts, never numbers or texts.",
                err=True,
            )
        set_up_logs(settings.log.format, settings.secret_values())
        console = make_console(settings.log.format, click.echo)
        serve_until_signal(
            registry,
            host,
            port,
            lambda url: console.announce(LogEvent.METRICS_READY, f"metrics: {url}"),
        )
    console.announce(LogEvent.STOPPED, "stopped")


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
