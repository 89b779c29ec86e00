"""Decisions about sending, as functions of values: no clock, no SQL, no network."""
