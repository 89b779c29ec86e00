"""The Celery tasks: tick, submit, poll, reconcile and probe."""
