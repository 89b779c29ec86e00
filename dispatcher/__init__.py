"""Bulk-SMS campaign dispatcher: what a campaign is, and everything but the Celery processes."""

__version__ = "0.1.0"
