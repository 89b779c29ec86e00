"""Flower's configuration: `celery -A workers flower --conf=deploy/flowerconfig.py`.

Tasks carry ids only. `/metrics` and `/healthcheck` stay open even with a password: keep the port
on loopback or behind a proxy.
"""

import os

_credentials = os.environ.get("FLOWER_BASIC_AUTH", "")

# Without a password, this machine only.
address = "0.0.0.0" if _credentials else "127.0.0.1"  # noqa: S104
port = int(os.environ.get("FLOWER_PORT", "5555"))
basic_auth = [_credentials] if _credentials else None
# A tick a second makes 86,400 tasks a day: what is kept in memory is bounded.
max_tasks = 20_000
