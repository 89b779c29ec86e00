"""The configuration of this process, read once. All that beat and Flower need of the workers."""

from functools import cache

from dispatcher.config.settings import Settings, load_settings
from dispatcher.local import broker


@cache
def get_settings() -> Settings:
    """Load the configuration. Raises ConfigError."""
    return load_settings()


def get_broker_url() -> str:
    """The URL of the Redis server of this process."""
    loaded = get_settings()
    return broker.celery_url(loaded.broker.url, loaded.store.url, loaded.broker.ca_file)
