"""Decisions about sending as pure functions: no clock, no SQL, no network."""
