"""Runs the receiver until a signal."""

import asyncio
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

from dispatcher.config.settings import Settings
from dispatcher.errors import ConfigError
from dispatcher.providers import provider_class
from dispatcher.receiver.access import PushAccess
from dispatcher.receiver.server import ListenAddress, ReceiverServer
from dispatcher.receiver.writer import PushWriter
from dispatcher.store.engine import Store
from dispatcher.text.opt_outs import StopWords


async def receive_until_signal(
    settings: Settings, store: Store, at: ListenAddress, ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; `ready` gets the URL. Raises DispatcherError."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    access = PushAccess(store)
    access.reread_if_due()
    words = {name: StopWords(one.stop_words) for name, one in settings.accounts.items()}
    writer = PushWriter(store, access, words)
    providers = {name: provider_class(one.provider)(one) for name, one in settings.accounts.items()}
    server = ReceiverServer(at, access, writer, providers)
    writer.start()
    try:
        await server.start()
        ready(server.url)
        await ended.wait()
    finally:
        await server.stop()
        await asyncio.to_thread(writer.stop)


def load_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS, of version 1.2 or newer. Raises ConfigError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # an SSLError is one
        why = error.strerror or type(error).__name__
        raise ConfigError(
            f"{certificate} and {key} cannot be used for TLS: {why}",
            "they are a certificate and its unencrypted key, both PEM",
        ) from None
    return context
