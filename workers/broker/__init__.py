"""Celery's side of the broker: connections, the consumer, and checks of what it delivers."""
