"""Notices: conditions, the outbox, and real calls."""
