"""Flower's configuration: `celery -A workers flower --conf=deploy/flowerconfig.py`.

FLOWER_BASIC_AUTH (user:password), FLOWER_PORT and FLOWER_ADDRESS are read by Flower itself; without
a password it listens on this machine only. Tasks carry ids only. `/metrics` and `/healthcheck` stay
open even with a password: keep the port on loopback or behind a proxy.
"""

# What is kept in memory is bounded. Without this file it is the same number.
max_tasks = 20_000
