"""The configuration of this process, read once. Beat and Flower need no more of us than this."""

from functools import cache

from dispatcher import embedded
from dispatcher.config import Settings, load_settings


@cache
def settings() -> Settings:
    """The configuration. Raises ConfigError."""
    return load_settings()


def broker_url() -> str:
    """The URL of the Redis server that this process talks to."""
    loaded = settings()
    return embedded.broker_url(loaded.broker.url, loaded.store.url)
