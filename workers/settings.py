"""The configuration of this process, read once. Beat and Flower need no more of us than this."""

from functools import cache

from dispatcher.config.settings import Settings, load_settings
from dispatcher.local import broker


@cache
def get_settings() -> Settings:
    """The configuration. Raises ConfigError."""
    return load_settings()


def get_broker_url() -> str:
    """The URL of the Redis server that this process talks to."""
    loaded = get_settings()
    return broker.celery_url(loaded.broker.url, loaded.store.url)
