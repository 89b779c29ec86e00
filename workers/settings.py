"""The configuration of this process, read once. All that beat and Flower need of the workers."""

import os
from functools import cache
from pathlib import Path

from dispatcher.config.secret_files import read_secret_file
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


def set_flower_defaults() -> None:
    """Keep Flower on this machine unless it has a password, and its memory bounded.

    Flower's own defaults are every address without a password, and 100,000 tasks, which take
    hundreds of megabytes. It reads these variables after the app is made; its options and its
    configuration file take precedence.
    """
    if file := os.environ.get("FLOWER_BASIC_AUTH_FILE"):
        password = read_secret_file(Path(file), "FLOWER_BASIC_AUTH_FILE")
        os.environ["FLOWER_BASIC_AUTH"] = password
    if "FLOWER_BASIC_AUTH" not in os.environ:
        os.environ.setdefault("FLOWER_ADDRESS", "127.0.0.1")
    os.environ.setdefault("FLOWER_MAX_TASKS", "20000")
    # Arguments and results say which campaign, and what became of it.
    os.environ.setdefault("FLOWER_TASKS_COLUMNS", "name,args,result,state,received,runtime,worker")
