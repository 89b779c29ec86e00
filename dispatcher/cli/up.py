"""`dispatcher up`: run everything on this machine, in the foreground, until Ctrl-C."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import warn_if_held, warn_if_stopped
from dispatcher.cli.context import settings_from
from dispatcher.logs.events import LogEvent

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings
    from dispatcher.local.broker import EmbeddedBroker
    from dispatcher.logs.console import Console


@click.command("up")
@click.option("--flower", is_flag=True, help="Also run Flower, reachable from this machine only.")
@click.option(
    "--flower-port",
    type=click.IntRange(1, 65535),
    help="Flower's port; implies --flower. [default: 5555, or a free one]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="How many worker processes to run. [default: one per processor core, at most 4]",
)
@click.option(
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least level of log lines to show.",
)
@click.pass_context
def up_command(
    ctx: click.Context, flower: bool, flower_port: int | None, workers: int | None, loglevel: str
) -> None:
    """Run a broker, workers and the scheduler until Ctrl-C.

    Upgrades the store first. Starts the embedded broker, unless a Redis server is configured, and
    the receiver, if [receiver] has a port.
    Ctrl-C waits for requests in flight; a second Ctrl-C kills everything.

    \b
    Example:
      dispatcher up --flower
    """
    from dispatcher.local import celery
    from dispatcher.local.broker import celery_url
    from dispatcher.local.life_signs import get_life_signs
    from dispatcher.local.supervisor import Supervisor
    from dispatcher.logs.console import make_console
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import upgrade_store

    settings = settings_from(ctx)
    url = celery_url(settings.broker.url, settings.store.url, settings.broker.ca_file)
    wants_flower = flower or flower_port is not None
    port = celery.find_flower_port(flower_port) if wants_flower else None
    count = workers or celery.workers_by_default()
    children = list(celery.celery_children(settings, url, workers=count, level=loglevel))
    if settings.receiver.port is not None:
        children.append(celery.receiver_child(settings, url))
    console = make_console(settings.log.format, click.echo)
    with _embedded_broker(settings) as broker, Supervisor(console) as supervisor:
        upgrade_store(settings.store.url)
        for child in children:
            supervisor.add_child(child)

        def run_until(done: Callable[[], bool]) -> bool:
            return supervisor.run_until(lambda: _keep_broker(broker, console) and done())

        def keep_alive() -> bool:
            get_life_signs().send_alive()
            return False

        if run_until(lambda: supervisor.are_ready(*(child.name for child in children))):
            console.announce(LogEvent.UP_READY, _ready_line(settings))
            get_life_signs().send_ready()
            warn_if_held(Store(settings.store.url))
            warn_if_stopped(Store(settings.store.url))
            if port is not None:
                # Flower lists the workers only when it starts, so they must be running.
                supervisor.add_child(celery.flower_child(settings, url, port))
                if run_until(lambda: celery.is_listening(port)):
                    console.announce(LogEvent.FLOWER_READY, f"flower: http://127.0.0.1:{port}")
        run_until(keep_alive)
        get_life_signs().send_stopping()
        words = "\nstopping: waiting for requests in flight (Ctrl-C again to stop now)"
        console.announce(LogEvent.UP_STOPPING, words)
    console.announce(LogEvent.STOPPED, "stopped")


def _embedded_broker(settings: "Settings") -> "AbstractContextManager[EmbeddedBroker | None]":
    """The embedded broker, started on entry; None if a Redis server is configured."""
    from dispatcher.local.broker import EmbeddedBroker, socket_path

    if settings.broker.url != "embedded":
        return nullcontext()
    return EmbeddedBroker(socket_path(settings.store.url))


def _keep_broker(broker: "EmbeddedBroker | None", console: "Console") -> bool:
    """Start the embedded broker again if it has died; always returns True."""
    if broker is not None and broker.restart_if_dead():
        words = "the broker stopped and was restarted; nothing was lost"
        console.announce(LogEvent.BROKER_RESTARTED, words)
    return True


def _ready_line(settings: "Settings") -> str:
    from dispatcher.store.engine import display_url, parse_url

    store = display_url(parse_url(settings.store.url))
    return f"ready: sending what is due in {store}; press Ctrl-C to stop"
